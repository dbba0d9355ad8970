//! What operators do to a cluster: empty a server, move a lead, decide about what is lost. Real processes.

use serde_json::Value;
use tests::fleet::cluster::{Fleet, FleetOptions, TABLE};
use tests::poll::eventually;
use tests::shell::Shell;

const KEYS: usize = 200;

fn fleet(options: FleetOptions) -> Fleet {
    Fleet::start(FleetOptions {
        namespaces: false,
        meta_settings: "repair_delay = \"2s\"\nbalance.after = \"1s\"".into(),
        ..options
    })
}

fn write(shell: &Shell) {
    for number in 0..KEYS {
        let (key, value) = (format!("k{number}"), number.to_string());
        shell.json(&["--table", TABLE, "set", &key, &value]);
    }
}

fn missing(shell: &Shell) -> Vec<usize> {
    let lost = |&number: &usize| {
        let value = shell.json(&["--table", TABLE, "get", &format!("k{number}")]);
        value.as_str().and_then(|value| value.parse().ok()) != Some(number)
    };
    (0..KEYS).filter(lost).collect()
}

fn node<'a>(nodes: &'a Value, name: &str) -> &'a Value {
    let all = nodes.as_array().expect("a list").iter();
    let mut found = all.filter(|node| node["name"] == name && node["alive"] == true);
    found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {nodes}"))
}

#[test]
fn a_drained_server_ends_empty_nothing_is_lost_and_it_can_be_forgotten() {
    let mut fleet = fleet(FleetOptions {
        replica_servers: 4,
        ..FleetOptions::default()
    });
    let shell = fleet.shell();
    write(&shell);
    let drained = shell.json(&["node", "drain", "replica-2", "--wait", "--yes"]);
    assert_eq!(drained["replicas"], 0);
    let nodes = shell.json(&["nodes"]);
    let emptied = node(&nodes, "replica-2");
    assert_eq!(emptied["drained"], true);
    assert_eq!(
        (&emptied["primaries"], &emptied["secondaries"]),
        (&0.into(), &0.into())
    );
    assert_eq!(missing(&shell), Vec::<usize>::new());
    shell.equal_copies(TABLE, 3);
    assert_eq!(shell.json(&["health"])["unhealthy"], 0);
    let refused = shell.try_json(&["node", "drain", "replica-1"]);
    assert!(refused.is_err_and(|why| why.contains("start another one first")));

    shell.json(&["node", "undrain", "replica-2"]);
    eventually("the server takes its share again", || {
        let nodes = shell.json(&["nodes"]);
        let primaries = |name| node(&nodes, name)["primaries"].as_u64().expect("a number");
        match primaries("replica-2") {
            2 => Ok(()),
            other => Err(format!("{other} of 8 primaries on one of 4 servers")),
        }
    });
    assert_eq!(missing(&shell), Vec::<usize>::new());

    shell.json(&["node", "drain", "replica-2", "--wait", "--yes"]);
    let refused = shell.try_json(&["node", "forget", "replica-2"]);
    assert!(refused.is_err_and(|why| why.contains("stop it first")));
    fleet.server_mut("replica-2").kill();
    eventually("the stopped server can be forgotten", || {
        shell.try_json(&["node", "forget", "replica-2"])
    });
    let nodes = shell.json(&["nodes"]);
    let names: Vec<&Value> = nodes
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| &node["name"])
        .collect();
    assert_eq!(names, ["replica-1", "replica-3", "replica-4"]);
}

#[test]
fn a_lead_and_a_replica_are_moved_by_hand() {
    let fleet = fleet(FleetOptions {
        replica_servers: 4,
        partitions: 1,
        ..FleetOptions::default()
    });
    let shell = fleet.shell();
    shell.json(&["balance", "pause"]);
    assert_eq!(shell.json(&["balance", "status"])["paused"], true);
    let before = fleet.whole().remove(0);
    let free = (1..=4)
        .map(|number| format!("replica-{number}"))
        .find(|name| *name != before.primary && !before.secondaries.contains(name))
        .expect("three of four have a copy");
    let from = before.primary.clone();
    let words = [
        "move", "replica", TABLE, "0", "--from", &from, "--to", &free,
    ];
    let moved = shell.json(&[&words[..], &["--wait"]].concat());
    assert_eq!(moved["moved"], true);
    let now = fleet.placement().expect("it is placed").remove(0);
    let all = [std::slice::from_ref(&now.primary), &now.secondaries[..]].concat();
    assert!(
        all.contains(&free) && !all.contains(&from),
        "{all:?} without {from}, with {free}"
    );
    shell.json(&["move", "primary", TABLE, "0", "--to", &free, "--wait"]);
    let now = fleet.placement().expect("it is placed").remove(0);
    assert_eq!(now.primary, free);
}

#[test]
fn a_lost_store_is_made_again_from_what_the_replica_servers_have() {
    let mut fleet = fleet(FleetOptions::default());
    write(&fleet.shell());
    fleet
        .shell()
        .json(&["table", "alter", TABLE, "--write-bytes", "100000000"]);
    let before = fleet.whole();
    let meta = fleet.server_mut("meta-1");
    meta.kill();
    std::fs::remove_dir_all(meta.data_dir.clone().expect("its data")).expect("the store is lost");
    meta.start().expect("it starts with nothing");
    let shell = fleet.shell();
    let told = eventually("everybody has answered", || {
        let told = shell.try_json(&["meta", "rebuild"])?;
        let answered = told["answered"].as_array().map_or(0, Vec::len);
        let found = told["found"].as_u64();
        (answered == 3 && found == Some(8))
            .then_some(told.clone())
            .ok_or(told.to_string())
    });
    assert_eq!(told["tables"], serde_json::json!([TABLE]));
    assert_eq!(told["unanswered"], serde_json::json!([]));
    let refused = shell.try_json(&["table", "create", "other", "--replicas", "1"]);
    assert!(
        refused.is_err_and(|why| why.contains("meta rebuild")),
        "its number may be in use"
    );
    let refused = shell.try_json(&["meta", "rebuild", "--word", "rebuild-0"]);
    assert!(refused.is_err());
    let word = told["word"].as_str().expect("a word");
    assert_eq!(
        shell.json(&["meta", "rebuild", "--word", word])["done"],
        true
    );
    let after = fleet.whole();
    for (before, after) in before.iter().zip(&after) {
        assert!(after.ballot >= before.ballot + (1 << 20), "{after:?}");
    }
    assert_eq!(missing(&shell), Vec::<usize>::new());
    shell.equal_copies(TABLE, 3);
    let table = shell.json(&["table", "show", TABLE]);
    assert_eq!(table["write_bytes"], 100_000_000);
    shell.json(&[
        "table",
        "create",
        "other",
        "--partitions",
        "1",
        "--replicas",
        "1",
    ]);
    assert!(
        shell.try_json(&["meta", "rebuild"]).is_err(),
        "the store is not empty"
    );
}

#[test]
fn a_partition_that_lost_all_members_goes_on_with_nothing_only_when_an_operator_says_so() {
    let mut fleet = fleet(FleetOptions {
        copies: 2,
        partitions: 6,
        ..FleetOptions::default()
    });
    write(&fleet.shell());
    let pair = ["replica-1", "replica-2"];
    let lost: Vec<u32> = fleet
        .whole()
        .into_iter()
        .filter(|placed| {
            let members = [
                std::slice::from_ref(&placed.primary),
                &placed.secondaries[..],
            ]
            .concat();
            members.iter().all(|member| pair.contains(&&member[..]))
        })
        .map(|placed| placed.partition)
        .collect();
    assert!(!lost.is_empty(), "some partition is on those two only");
    for name in pair {
        let server = fleet.server_mut(name);
        server.kill();
        std::fs::remove_dir_all(server.data_dir.clone().expect("its data")).expect("a lost disk");
    }
    for name in pair {
        fleet.server_mut(name).start().expect("a new node");
    }
    let shell = fleet.shell();
    eventually("the others are whole again", || {
        let health = shell.json(&["health"]);
        let all = health["partitions"].as_array().expect("a list");
        let only_lost = all
            .iter()
            .all(|partition| partition["kind"] == "lost_quorum");
        (only_lost && all.len() == lost.len())
            .then_some(())
            .ok_or(health.to_string())
    });
    for partition in &lost {
        let number = partition.to_string();
        let rescue = ["partition", "rescue", TABLE, &number];
        let told = shell.json(&rescue);
        let choices = told["choices"].as_array().expect("a list");
        assert_eq!(choices.len(), 1, "no server has a copy: {told}");
        let word = choices[0]["word"].as_str().expect("a word");
        let wrong = [&rescue[..], &["--nothing", "--word", "nothing-1"]].concat();
        assert!(shell.try_json(&wrong).is_err());
        let right = [&rescue[..], &["--nothing", "--word", word]].concat();
        assert_eq!(shell.json(&right)["done"], true);
    }
    eventually("all is well", || {
        let health = shell.json(&["health"]);
        (health["unhealthy"] == 0)
            .then_some(())
            .ok_or(health.to_string())
    });
    shell.equal_copies(TABLE, 2);
    write(&shell);
    assert_eq!(missing(&shell), Vec::<usize>::new());
}
