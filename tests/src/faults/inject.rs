//! Does faults to a fleet and undoes them.

use super::damage::damage;
use super::fault::{Fault, Targets};
use crate::fleet::proxy::Behaviour;
use crate::fleet::server::Server;
use crate::fleet::{Fleet, Role};
use rand::RngExt;
use rand::rngs::SmallRng;

/// How many places of its files are damaged at once, at most.
const DAMAGES: usize = 20;

/// What of this fleet can be harmed.
pub fn targets(fleet: &Fleet) -> Targets {
    let names = |wanted: &dyn Fn(&Server) -> bool| {
        let servers = fleet.servers.iter().filter(|server| wanted(server));
        servers.map(|server| server.name.clone()).collect()
    };
    Targets {
        replicas: names(&|server| server.role == Role::Replica),
        others: names(&|server| server.role != Role::Replica),
        proxied: names(&|server| !server.proxies.is_empty()),
        links: fleet.network.has_links(),
        disks: fleet.replica_servers().any(|server| server.disk.is_some()),
        clocks: fleet.replica_servers().any(|server| server.clock.is_some()),
    }
}

/// Does it. It lasts until [`heal`].
pub fn inject(fleet: &mut Fleet, fault: &Fault, random: &mut SmallRng) {
    match fault {
        Fault::Kill(names) => {
            for name in names {
                fleet.server(name).strike();
            }
            for name in names {
                fleet.server_mut(name).reap();
            }
        }
        Fault::Restart(name) => fleet.server_mut(name).terminate(),
        Fault::Pause(name) => fleet.server_mut(name).pause(),
        Fault::CutOneWay(from, to) => fleet.server(to).host.deafen(&fleet.server(from).host),
        Fault::Cut(one, other) => {
            fleet.server(other).host.deafen(&fleet.server(one).host);
            fleet.server(one).host.deafen(&fleet.server(other).host);
        }
        Fault::Isolate(name) => {
            let alone = fleet.server(name);
            for other in fleet.servers.iter().filter(|other| other.name != *name) {
                other.host.deafen(&alone.host);
                alone.host.deafen(&other.host);
            }
        }
        Fault::Network(name, behaviour) => {
            fleet
                .server(name)
                .proxies
                .iter()
                .for_each(|proxy| proxy.behave(*behaviour));
        }
        Fault::FillDisk(name) => {
            if let Some(disk) = &fleet.server(name).disk {
                disk.fill().expect("a disk can be filled");
            }
        }
        Fault::HangDisk(name) => {
            if let Some(disk) = &fleet.server(name).disk {
                disk.freeze().expect("a disk can be frozen");
            }
        }
        Fault::StepClock(name, by) => {
            if let Some(clock) = &fleet.server(name).clock {
                clock.step(*by).expect("a file can be written");
            }
        }
        Fault::Damage(name) => {
            // Every other copy must be there: two damaged ones may be one too many.
            fleet.whole();
            let server = fleet.server_mut(name);
            server.kill();
            let data = server.data_dir.clone().expect("replica servers have data");
            let times = random.random_range(1..=DAMAGES);
            let done = damage(&data, times, random).expect("its files are ours");
            for done in done {
                let file = done
                    .file
                    .strip_prefix(&data)
                    .unwrap_or(&done.file)
                    .display();
                println!("           {:?} {file} at {}", done.kind, done.offset);
            }
        }
    }
}

/// Undoes whatever was done. Servers that are dead are started again.
pub fn heal(fleet: &mut Fleet) {
    for server in &mut fleet.servers {
        server.host.listen();
        server
            .proxies
            .iter()
            .for_each(|proxy| proxy.behave(Behaviour::Pass));
        if let Some(disk) = &server.disk {
            disk.thaw();
            disk.free().expect("a disk can be freed");
        }
        if let Some(clock) = &server.clock {
            clock.step(0).expect("a file can be written");
        }
        if server.is_paused() {
            server.resume();
        }
    }
    for place in 0..fleet.servers.len() {
        let server = &mut fleet.servers[place];
        if !server.lives() {
            server.reap();
            start(server);
        }
    }
}

/// Servers that ended although nobody told them to.
pub fn deaths(fleet: &Fleet) -> Vec<String> {
    let dead = |server: &&Server| server.pid().is_some() && !server.lives();
    let servers = fleet.servers.iter().filter(dead);
    servers
        .map(|server| {
            format!(
                "{} ended by itself:\n{}",
                server.name,
                server.last_words(20)
            )
        })
        .collect()
}

/// Starts it, as an operator would: where it says that its own identity is damaged, on an empty directory.
fn start(server: &mut Server) {
    let Err(refusal) = server.start() else {
        return;
    };
    assert!(
        refusal.contains("is damaged"),
        "{refusal}\n{}",
        server.last_words(20)
    );
    println!("           {refusal}");
    let data = server.data_dir.clone().expect("only data can be damaged");
    std::fs::remove_dir_all(&data).expect("its files are ours");
    server.start().unwrap_or_else(|error| panic!("{error}"));
}
