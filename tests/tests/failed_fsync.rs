//! A sync that fails: nothing that the disk was given lately can be relied on, and a second try may be told that all is well. So the server
//! stops, says which file it was and what to do, and the others take over; when the disk is well it comes back.
//!
//! The disks are file systems in memory (`tests/src/fleet/volatile`), which need root; the tests run as root anyway.

use std::path::Path;
use tests::doors::{Redis, Sdk, Sending};
use tests::fleet::cluster::TABLE;
use tests::fleet::{Fleet, FleetOptions, Server, VolatileDisk};
use tests::poll::{eventually, until};
use tests::writers::{Writers, check, seed};

/// So small that RocksDB writes its files all the time.
const SETTINGS: &str = "[replica.budgets]\noverlay = \"64KiB\"\nmemtables = \"64KiB\"\n";

fn disk(server: &mut Server) -> &mut VolatileDisk {
    server.volatile.as_mut().expect("it has one of its own")
}

/// Lets the syncs of these files fail at the server that leads most, and follows what becomes of it and of the data.
fn fails(durability: &str, fails: fn(&Path) -> bool, said: &str) {
    let mut fleet = Fleet::start(FleetOptions {
        partitions: 2,
        durability: durability.to_owned(),
        namespaces: false,
        volatile: true,
        settings: SETTINGS.to_owned(),
        ..FleetOptions::default()
    });
    let gateway = fleet.redis_ports().pop().expect("there is a gateway");
    let writers = Writers::start(
        seed(),
        vec![
            (
                "gateway".into(),
                Box::new(Redis::new(&gateway, Sending::Pipelined)),
            ),
            ("sdk".into(), Box::new(Sdk::new(&fleet.meta(), TABLE))),
        ],
    );
    writers.go_on(100);
    let victim = fleet.whole().swap_remove(0).primary;
    disk(fleet.server_mut(&victim)).fail_syncs(fails);
    until(&format!("{victim} has ended by itself"), || {
        !fleet.server(&victim).lives()
    });
    let words = fleet.server(&victim).last_words(1);
    assert!(
        words.contains("stopped:") && words.contains(said) && words.contains("mend or replace"),
        "{words}"
    );
    let place = disk(fleet.server_mut(&victim)).path().to_owned();
    assert!(
        words.contains(&*place.to_string_lossy()) && words.contains("Input/output error"),
        "{words}"
    );
    eventually("the others have taken over", || {
        let placement = fleet.placement()?;
        match placement.iter().find(|it| it.primary == victim) {
            Some(led) => Err(format!("{led:?}")),
            None => Ok(()),
        }
    });
    writers.go_on(200);

    let server = fleet.server_mut(&victim);
    server.reap();
    // What could not be synced is gone: it was another disk's, or another boot's.
    disk(server).mend();
    disk(server).lose_power();
    disk(server).restore_power().expect("nobody uses it");
    server.start().expect("its disk is well");
    fleet.whole();
    writers.go_on(100);
    let record = writers.stop();
    check(&record, &mut Redis::new(&gateway, Sending::Pipelined));
    check(&record, &mut Sdk::new(&fleet.meta(), TABLE));
    fleet.equal_copies();
}

fn named(path: &Path, begin: &str) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with(begin)
}

#[test]
fn a_server_whose_log_cannot_be_synced_stops_and_comes_back_in_durability_sync() {
    fails("sync", |path| path.starts_with("data/log"), ".segment");
}

#[test]
fn a_server_whose_log_cannot_be_synced_stops_and_comes_back_in_durability_buffered() {
    fails("buffered", |path| path.starts_with("data/log"), ".segment");
}

#[test]
fn a_server_whose_tables_cannot_be_synced_stops_and_comes_back() {
    let tables = |path: &Path| path.extension().is_some_and(|end| end == "sst");
    fails("sync", tables, ".sst");
}

#[test]
fn a_server_whose_manifest_cannot_be_synced_stops_and_comes_back() {
    fails("sync", |path| named(path, "MANIFEST"), "MANIFEST");
}

#[test]
fn a_server_whose_catalogue_cannot_be_synced_stops_and_comes_back() {
    fails("sync", |path| named(path, "catalogue"), "catalogue");
}
