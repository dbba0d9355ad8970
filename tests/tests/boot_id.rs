//! Rule C6 on real processes, in durability `buffered`: a server that was killed keeps its copies, one whose machine was booted again does
//! not trust them and learns them anew, and if that is so of all, the largest copy goes on and the others learn from it.
//!
//! Each server has a disk in memory that forgets what was not synced, and believes in a boot of its own (`tests/preload/boot.c`).

use tests::Door;
use tests::doors::{Redis, Sending};
use tests::fleet::{Fleet, FleetOptions, Role, Server};
use tests::poll::until;
use tests::writers::{Record, Writers, check, seed};

const PARTITIONS: u32 = 4;

fn fleet() -> Fleet {
    Fleet::start(FleetOptions {
        partitions: PARTITIONS,
        durability: "buffered".to_owned(),
        namespaces: false,
        volatile: true,
        boots: true,
        ..FleetOptions::default()
    })
}

fn door(fleet: &Fleet) -> Redis {
    let gateway = fleet.redis_ports().pop().expect("there is a gateway");
    Redis::new(&gateway, Sending::Pipelined)
}

/// Writes for a while; tells what must be there.
fn write(fleet: &Fleet) -> Record {
    let doors: Vec<(String, Box<dyn Door>)> = vec![("gateway".into(), Box::new(door(fleet)))];
    let writers = Writers::start(seed(), doors);
    writers.go_on(500);
    writers.stop()
}

/// Kills all servers that have data at once; these lose their power with it.
fn kill_all(fleet: &mut Fleet, without_power: &[String]) {
    fleet.servers.iter().for_each(Server::strike);
    for server in &mut fleet.servers {
        let lost = without_power.contains(&server.name);
        if let Some(disk) = server.volatile.as_ref().filter(|_| lost) {
            disk.lose_power();
        }
        server.reap();
        if let Some(disk) = server.volatile.as_mut().filter(|_| lost) {
            disk.restore_power().expect("nobody uses it");
            let boot = server.boot.as_ref().expect("it has a boot of its own");
            boot.begin().expect("the fleet's directory is writable");
        }
    }
}

/// Starts all, the meta server last: until then nobody is taken out of a configuration for being late. Tells of each replica server the
/// roles that its replicas had since.
fn start_all(fleet: &mut Fleet) -> Vec<(String, String)> {
    let mut before = Vec::new();
    for role in [Role::Replica, Role::Meta, Role::Gateway] {
        for server in fleet.servers.iter_mut().filter(|it| it.role == role) {
            before.push((server.name.clone(), log(server).lines().count()));
            server.start().unwrap_or_else(|error| panic!("{error}"));
        }
    }
    fleet.whole();
    fleet.equal_copies();
    let since = |(name, lines): (String, usize)| {
        let text = log(fleet.server(&name));
        let changes = text.lines().skip(lines);
        let changes: Vec<_> = changes.filter(|it| it.contains("role changed")).collect();
        (name, changes.join("\n"))
    };
    let replicas = before
        .into_iter()
        .filter(|(name, _)| name.starts_with("replica"));
    replicas.map(since).collect()
}

fn log(server: &Server) -> String {
    server.last_words(usize::MAX)
}

fn learnt(roles: &str) -> usize {
    roles
        .lines()
        .filter(|line| line.contains("Learner"))
        .count()
}

#[test]
fn servers_that_were_killed_in_the_same_boot_come_back_as_members_and_learn_nothing() {
    let mut fleet = fleet();
    let record = write(&fleet);
    kill_all(&mut fleet, &[]);
    for (name, roles) in start_all(&mut fleet) {
        assert!(!roles.is_empty(), "{name} has replicas");
        assert_eq!(learnt(&roles), 0, "{name}:\n{roles}");
    }
    check(&record, &mut door(&fleet));
}

#[test]
fn a_server_whose_machine_was_booted_again_is_no_member_and_learns_what_it_lost() {
    for victim in 1..=2 {
        let mut fleet = fleet();
        let record = write(&fleet);
        let victim = format!("replica-{victim}");
        kill_all(&mut fleet, std::slice::from_ref(&victim));
        for (name, roles) in start_all(&mut fleet) {
            let learnt = learnt(&roles);
            if name == victim {
                assert!(learnt >= PARTITIONS as usize, "{name}:\n{roles}");
            } else {
                assert_eq!(learnt, 0, "{name}:\n{roles}");
            }
        }
        check(&record, &mut door(&fleet));
    }
}

#[test]
fn when_all_machines_were_booted_again_one_copy_goes_on_and_the_others_learn_it() {
    let mut fleet = fleet();
    write(&fleet);
    let all: Vec<String> = fleet.replica_servers().map(|it| it.name.clone()).collect();
    let ballots: Vec<u64> = fleet.whole().iter().map(|it| it.ballot).collect();
    kill_all(&mut fleet, &all);
    let roles = start_all(&mut fleet);
    let learnt: usize = roles.iter().map(|(_, roles)| learnt(roles)).sum();
    // Two of three.
    assert!(learnt >= 2 * PARTITIONS as usize, "{roles:?}");
    let meta = fleet.server("meta-1");
    until("the meta server has told of each", || {
        let log = log(meta);
        let told = log
            .lines()
            .filter(|line| line.contains("lost its last writes in a power failure"));
        told.count() == PARTITIONS as usize
    });
    for (before, after) in ballots.iter().zip(fleet.whole()) {
        // Alone, and with one more, and with another.
        assert!(after.ballot >= before + 3, "{after:?}");
    }
    let record = write(&fleet);
    check(&record, &mut door(&fleet));
}
