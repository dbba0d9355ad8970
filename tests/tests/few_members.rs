//! Fewer members than writes need (`min_replicas`): writes are refused clearly and change nothing, reads go on, and what the client
//! library was given meanwhile is done once there are enough again.

use std::time::Duration;
use tests::doors::{open, runtime};
use tests::fleet::cluster::TABLE;
use tests::fleet::{Fleet, FleetOptions};
use tests::poll::eventually;
use tulpar_client::{Client, ClientOptions, Error};

#[test]
fn writes_wait_for_members_in_the_client_library_and_are_refused_to_redis_clients() {
    let mut fleet = Fleet::start(FleetOptions {
        partitions: 1,
        namespaces: false,
        ..FleetOptions::default()
    });
    let runtime = runtime();
    let table = runtime.block_on(open(&fleet.meta(), TABLE));
    runtime
        .block_on(table.set("key", "before"))
        .expect("healthy");
    let killed = fleet.whole()[0].secondaries.clone();
    for name in &killed {
        fleet.server_mut(name).kill();
    }
    let gateway = fleet
        .redis_ports()
        .pop()
        .expect("the gateway's is the last");
    let mut redis = redis::Client::open(format!("redis://{gateway}/"))
        .and_then(|client| client.get_connection())
        .expect("the gateway runs");
    eventually("writes are refused for lack of members", || {
        let written: redis::RedisResult<()> =
            redis::cmd("SET").arg("other").arg("x").query(&mut redis);
        match written {
            Err(error) if error.code() == Some("NOREPLICAS") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    let hasty = ClientOptions::new([fleet.meta()]).deadline(Duration::from_millis(300));
    runtime.block_on(async {
        let hasty = Client::connect(hasty).await.expect("the meta server runs");
        let hasty = hasty.table(TABLE).await.expect("it exists");
        let refused = hasty.set("key", "refused").await;
        assert!(
            matches!(&refused, Err(Error::Timeout(why)) if why.contains("NOREPLICAS")),
            "{refused:?}"
        );
        let value = hasty.get("key").await.expect("reads go on");
        assert_eq!(value.as_deref(), Some(&b"before"[..]));
    });

    let mut patient = Box::pin(table.set("key", "after"));
    let early = runtime.block_on(async {
        let moment = Duration::from_millis(300);
        tokio::time::timeout(moment, &mut patient).await
    });
    assert!(early.is_err(), "there are too few members: {early:?}");
    for name in &killed {
        let started = fleet.server_mut(name).start();
        started.unwrap_or_else(|error| panic!("{error}"));
    }
    runtime.block_on(async {
        patient.await.expect("it is done once there are members");
        let value = table.get("key").await.expect("healthy");
        assert_eq!(value.as_deref(), Some(&b"after"[..]));
    });
}
