//! A disk that hangs: the primary whose log waits for it does not vouch for itself any more (R6), is replaced, and reads nothing stale to
//! anybody when the disk goes on.
//!
//! Disks are images mounted by loop, which needs root; the tests run as root anyway (see `tests/tests/faults.rs`).

use std::time::Duration;
use tests::doors::{runtime, try_redis};
use tests::fleet::cluster::TABLE;
use tests::fleet::server::Server;
use tests::fleet::{Fleet, FleetOptions};
use tests::poll::eventually;
use tulpar_client::{Client, ClientOptions};

/// In MiB; takes room only as it is written.
const DISK: u64 = 2048;

fn get(port: &str) -> Result<Option<String>, String> {
    let mut connection = try_redis(port).map_err(|error| error.to_string())?;
    let read = redis::cmd("GET").arg("key").query(&mut connection);
    read.map_err(|error| error.to_string())
}

#[test]
fn a_primary_whose_disk_hangs_is_replaced_and_reads_nothing_stale_afterwards() {
    let fleet = Fleet::start(FleetOptions {
        partitions: 1,
        namespaces: false,
        disks: Some(DISK),
        ..FleetOptions::default()
    });
    let runtime = runtime();
    let patient = ClientOptions::new([fleet.meta()]).deadline(Duration::from_secs(30));
    let table = runtime.block_on(async {
        let client = Client::connect(patient)
            .await
            .expect("a meta server is there");
        client.table(TABLE).await.expect("the table is there")
    });
    runtime
        .block_on(table.set("key", "before"))
        .expect("all is well");
    let before = fleet.whole().remove(0);
    let victim = fleet.server(&before.primary);
    let own_port = victim
        .redis
        .expect("replica servers have one")
        .reached
        .to_string();
    let disk = victim.disk.as_ref().expect("it has one of its own");

    disk.freeze().expect("the disk can be made to hang");
    // It waits at the old primary, and is done by the new one.
    runtime
        .block_on(table.set("key", "after"))
        .expect("another one leads soon");
    let after = eventually("another one leads", || {
        let now = fleet.placement()?.remove(0);
        (now.primary != before.primary)
            .then_some(())
            .ok_or_else(|| format!("{now:?}"))?;
        Ok(now)
    });
    assert!(after.ballot > before.ballot);
    // Its reads need no disk: only the missing leases keep it from answering what it knows.
    match get(&own_port) {
        Ok(value) => assert_eq!(value.as_deref(), Some("after")),
        Err(refused) => println!("while its disk hangs: {refused}"),
    }

    disk.thaw();
    let read = eventually("the old primary's port answers again", || get(&own_port));
    assert_eq!(read.as_deref(), Some("after"));
    fleet.equal_copies();
    assert!(fleet.replica_servers().all(Server::lives));
}
