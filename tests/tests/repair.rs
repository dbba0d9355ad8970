//! Damage that nobody reads is found and mended all the same: flipped bits in RocksDB's files and in the log by scrubbing, a copy with
//! other contents than the others by comparing digests. Reads are right all the while.

use rocksdb::{DB, IteratorMode, Options};
use std::path::{Path, PathBuf};
use tests::Door;
use tests::doors::{Redis, Sending};
use tests::faults::damage::flip;
use tests::fleet::{Fleet, FleetOptions, Server};
use tests::poll::{eventually, until};

const KEYS: usize = 400;

/// A cluster with one partition that looks for damage all the time, by one way only.
fn fleet(copies: usize, settings: &str) -> Fleet {
    Fleet::start(FleetOptions {
        replica_servers: copies,
        copies,
        partitions: 1,
        namespaces: false,
        settings: settings.to_owned(),
        ..FleetOptions::default()
    })
}

const SCRUBS: &str = "[replica.scrub]
interval = \"300ms\"
[replica.digest]
interval = \"0s\"
[replica.budgets]
overlay = \"64KiB\"
memtables = \"64KiB\"
";
/// Scrubs too: so everything is on disk soon.
const COMPARES: &str = "[replica.scrub]
interval = \"300ms\"
[replica.digest]
interval = \"1s\"
[replica.budgets]
overlay = \"64KiB\"
memtables = \"64KiB\"
";

fn value(key: usize) -> String {
    format!("value {key:04} {}", "x".repeat(200))
}

/// Writes the keys, and then so much more than memory may hold that they are in RocksDB's files.
fn write(fleet: &Fleet) {
    let keys = (0..KEYS).map(|key| (format!("key:{key}"), value(key)));
    let more = (0..10 * KEYS).map(|key| (format!("more:{key}"), "y".repeat(200)));
    let pairs: Vec<_> = keys.chain(more).collect();
    let gateway = fleet.redis_ports().pop().expect("there is a gateway");
    let mut door = Redis::new(&gateway, Sending::Pipelined);
    for pairs in pairs.chunks(KEYS) {
        door.write(pairs).expect("a healthy cluster takes writes");
    }
}

fn read(fleet: &Fleet) {
    let keys: Vec<_> = (0..KEYS).map(|key| format!("key:{key}")).collect();
    for port in fleet.redis_ports() {
        let values = Redis::new(&port, Sending::Pipelined).read(&keys);
        for (key, read) in values.expect("it answers").into_iter().enumerate() {
            assert_eq!(read, Some(value(key)), "key:{key} at {port}");
        }
    }
}

/// How many lines of the server's log have these words.
fn said(server: &Server, words: &str) -> usize {
    let log = server.last_words(usize::MAX);
    log.lines().filter(|line| line.contains(words)).count()
}

/// Waits for two ends of rounds: what was there before was read, and flushed before that.
fn scrubbed(server: &Server) {
    let before = said(server, "scrubbed everything");
    until(&format!("{} has scrubbed everything", server.name), || {
        said(server, "scrubbed everything") >= before + 2
            && !files(&data_dir(server).join("data"), "sst").is_empty()
    });
}

fn data_dir(server: &Server) -> &Path {
    server.data_dir.as_deref().expect("it has data")
}

/// Files below `directory` with that ending.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("scratch") {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
    found
}

fn damage_tables(server: &Server) {
    let tables = files(&data_dir(server).join("data"), "sst");
    assert!(!tables.is_empty(), "{} has flushed nothing", server.name);
    for table in tables {
        flip(&table, 500).expect("it is longer");
    }
}

/// Waits until the server's scrub has found damage once more, and its copy has been learnt anew.
fn found_and_learnt_anew(fleet: &Fleet, name: &str, found_before: usize, ballot: u64) {
    let server = fleet.server(name);
    until(&format!("{name}'s scrub finds the damage"), || {
        said(server, "scrubbing found damaged files") > found_before
    });
    eventually("the copy is learnt anew", || {
        let placement = fleet.whole().swap_remove(0);
        // Out, and in again.
        (placement.ballot >= ballot + 2)
            .then_some(())
            .ok_or_else(|| format!("{placement:?}"))
    });
    read(fleet);
    fleet.equal_copies();
    let found = said(server, "scrubbing found damaged files");
    scrubbed(server);
    assert_eq!(said(server, "scrubbing found damaged files"), found);
}

#[test]
fn a_damaged_file_of_a_running_server_is_found_by_its_scrub_and_the_copy_learnt_anew() {
    let fleet = fleet(3, SCRUBS);
    write(&fleet);
    let placement = fleet.whole().swap_remove(0);
    for name in [&placement.secondaries[0], &placement.primary] {
        scrubbed(fleet.server(name));
        let ballot = fleet.whole()[0].ballot;
        let before = said(fleet.server(name), "scrubbing found damaged files");
        damage_tables(fleet.server(name));
        read(&fleet);
        found_and_learnt_anew(&fleet, name, before, ballot);
    }
}

#[test]
fn a_file_damaged_while_its_server_was_down_is_found_by_the_scrub_without_a_read() {
    let mut fleet = fleet(3, SCRUBS);
    write(&fleet);
    scrubbed(fleet.server("replica-2"));
    fleet.server_mut("replica-2").kill();
    damage_tables(fleet.server("replica-2"));
    let ballot = eventually("the others go on", || {
        let placement = fleet.placement()?.swap_remove(0);
        let out = !placement.secondaries.iter().any(|name| name == "replica-2")
            && placement.primary != "replica-2";
        out.then_some(placement.ballot)
            .ok_or_else(|| format!("{placement:?}"))
    });
    fleet.server_mut("replica-2").start().expect("it starts");
    found_and_learnt_anew(&fleet, "replica-2", 0, ballot.saturating_sub(1));
}

#[test]
fn a_damaged_log_segment_is_found_and_given_up_before_anybody_needs_it() {
    let mut fleet = fleet(3, SCRUBS);
    write(&fleet);
    // What the log has of an earlier life is sealed. The last writes are in no RocksDB yet, or may not be.
    fleet.server_mut("replica-3").kill();
    let log = data_dir(fleet.server("replica-3")).join("log").join("sync");
    let needle = format!("value {:04}", KEYS / 2);
    let (segment, at) = find(&log, needle.as_bytes());
    fleet.server_mut("replica-3").start().expect("it starts");
    flip(&segment, at).expect("it is there");
    let server = fleet.server("replica-3");
    until("the scrub finds the damaged segment", || {
        said(server, "a commit log segment is damaged") > 0
    });
    until("the log has let go of it", || {
        let log = server.last_words(usize::MAX);
        let mut rounds = log
            .lines()
            .filter(|line| line.contains("scrubbed everything"));
        let last = rounds.next_back();
        last.is_some_and(|line| line.contains("damaged=0"))
    });
    fleet.whole();
    read(&fleet);
    fleet.server_mut("replica-3").kill();
    fleet.server_mut("replica-3").start().expect("it starts");
    assert_eq!(
        said(fleet.server("replica-3"), "the commit log is damaged"),
        0
    );
    fleet.whole();
    fleet.equal_copies();
    read(&fleet);
}

/// The file that has these bytes, and where.
fn find(directory: &Path, needle: &[u8]) -> (PathBuf, u64) {
    for path in files(directory, "segment") {
        let bytes = std::fs::read(&path).expect("readable");
        let at = bytes.windows(needle.len()).position(|part| part == needle);
        if let Some(at) = at {
            return (path, at as u64);
        }
    }
    panic!("the log has nothing of what was written");
}

/// Gives a key of a stopped server's copy another value, as no checksum shows.
fn rewrite(server: &Server, key: usize) {
    let tables = files(&data_dir(server).join("data"), "sst");
    let directory = tables.first().and_then(|table| table.parent());
    let directory = directory.expect("its copy is on disk");
    let db = DB::open(&Options::default(), directory).expect("nobody has it open");
    let (old, new) = (format!("value {key:04}"), format!("VALUE {key:04}"));
    let mut rewritten = 0;
    for row in db.iterator(IteratorMode::Start) {
        let (row, value) = row.expect("it is whole");
        let at = value
            .windows(old.len())
            .position(|part| part == old.as_bytes());
        if let Some(at) = at {
            let mut value = value.to_vec();
            value[at..at + new.len()].copy_from_slice(new.as_bytes());
            db.put(row, value).expect("writable");
            rewritten += 1;
        }
    }
    db.flush().expect("writable");
    assert_eq!(rewritten, 1, "one row has the value");
}

/// Kills all replica servers, changes one key of one copy, and starts them again.
fn restart_with_a_rewritten_copy(fleet: &mut Fleet, name: &str) {
    let names: Vec<String> = fleet.replica_servers().map(|it| it.name.clone()).collect();
    fleet.replica_servers().for_each(scrubbed);
    fleet.replica_servers().for_each(Server::strike);
    for name in &names {
        fleet.server_mut(name).reap();
    }
    rewrite(fleet.server(name), 7);
    for name in &names {
        fleet.server_mut(name).start().expect("it starts");
    }
}

#[test]
fn a_copy_that_differs_is_found_by_comparison_and_learnt_anew_wherever_it_is() {
    let mut fleet = fleet(3, COMPARES);
    write(&fleet);
    let placement = fleet.whole().swap_remove(0);
    for name in [placement.secondaries[1].clone(), placement.primary] {
        let now = fleet.whole().swap_remove(0);
        println!("rewriting {name} under {now:?}");
        let told = |fleet: &Fleet| {
            let said = |server| said(server, "is not what a majority of the members has");
            fleet.replica_servers().map(said).sum::<usize>()
        };
        let before = told(&fleet);
        restart_with_a_rewritten_copy(&mut fleet, &name);
        until("the comparison finds the copy", || told(&fleet) > before);
        eventually("the copy is learnt anew", || {
            let after = fleet.whole().swap_remove(0);
            (after.ballot >= now.ballot + 2)
                .then_some(())
                .ok_or_else(|| format!("{after:?}"))
        });
        fleet.equal_copies();
        read(&fleet);
    }
}

#[test]
fn two_copies_that_differ_are_reported_and_left_to_the_operator() {
    let mut fleet = fleet(2, COMPARES);
    write(&fleet);
    let secondary = fleet.whole().swap_remove(0).secondaries.swap_remove(0);
    restart_with_a_rewritten_copy(&mut fleet, &secondary);
    until("the meta server says that the copies differ", || {
        said(fleet.server("meta-1"), "no majority of them agrees") > 0
    });
    let answer = fleet.shell().json(&["partitions", "faults", "--digest"]);
    assert_eq!(answer["partitions"][0]["equal"], false);
    let repaired = fleet
        .shell()
        .json(&["partitions", "faults", "--digest", "--repair"]);
    assert!(
        repaired["partitions"][0]["repaired"].is_null(),
        "{repaired}"
    );
}

#[test]
fn an_operator_can_have_a_copy_that_differs_repaired_at_once() {
    let mut fleet = fleet(3, SCRUBS);
    write(&fleet);
    let secondary = fleet.whole().swap_remove(0).secondaries.swap_remove(0);
    restart_with_a_rewritten_copy(&mut fleet, &secondary);
    let repaired = eventually("all copies answer", || {
        let answer = fleet
            .shell()
            .try_json(&["partitions", "faults", "--digest", "--repair"])?;
        let repaired = answer["partitions"][0]["repaired"].clone();
        (!repaired.is_null())
            .then_some(repaired)
            .ok_or_else(|| answer.to_string())
    });
    assert_eq!(repaired[0]["name"], secondary.as_str(), "{repaired}");
    fleet.whole();
    fleet.equal_copies();
    read(&fleet);
}
