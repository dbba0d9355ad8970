//! A disk that runs full: the servers take no new data, lose none, and take it again when there is room.
//!
//! The disk is the one with the directory for temporary files; what fills it is a file that takes room and is never written.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::File;
use std::path::Path;
use tests::doors::redis;
use tests::{Cluster, Options, eventually};

fn free(path: &Path) -> u64 {
    let disk = statvfs(path).expect("the file system says how full it is");
    disk.f_bavail * disk.f_frsize
}

fn take_room(file: &Path, bytes: u64) {
    let file = File::create(file).expect("a file can be made");
    fallocate(&file, FallocateFlags::empty(), 0, bytes).expect("there is that much room");
}

fn set(connection: &mut redis::Connection, key: &str) -> Result<(), String> {
    redis::cmd("SET")
        .arg(key)
        .arg("value")
        .exec(connection)
        .map_err(|error| error.to_string())
}

#[test]
fn a_nearly_full_disk_makes_the_servers_read_only_until_there_is_room() {
    let scratch = tempfile::tempdir().expect("a directory");
    let free = free(scratch.path());
    // Others use this disk too: their part of a tenth must not matter.
    let (reserve, taken) = (free / 100 * 85, free / 4);
    let cluster = Cluster::start(Options::default().setting(
        "TULPAR__REPLICA__BUDGETS__DISK_RESERVE",
        &reserve.to_string(),
    ));
    let mut connection = redis(&cluster.gateway());
    set(&mut connection, "before").expect("there is room");
    let ballast = scratch.path().join("ballast");
    take_room(&ballast, taken);
    let refused = eventually("a write is refused", || {
        match set(&mut connection, "during") {
            Ok(()) => Err("it was taken".to_owned()),
            Err(error) => Ok(error),
        }
    });
    assert!(
        refused.contains("MISCONF") && refused.contains("nearly full"),
        "{refused}"
    );
    let read: Option<String> = redis::cmd("GET")
        .arg("before")
        .query(&mut connection)
        .expect("reads go on");
    assert_eq!(read.as_deref(), Some("value"));
    let deleted: i64 = redis::cmd("DEL")
        .arg("before")
        .query(&mut connection)
        .expect("what makes room is taken");
    assert_eq!(deleted, 1);
    std::fs::remove_file(&ballast).expect("the file is there");
    eventually("writes are taken again", || set(&mut connection, "after"));
    cluster.equal_copies("default", 3);
}
