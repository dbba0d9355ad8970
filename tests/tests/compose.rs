//! The cluster of `deploy/compose` comes up and serves, also without a replica server and without the meta server that led.
//!
//! Where no Docker Engine answers it says so, and shows nothing; where everything must be shown that is a failure.

use serde_json::Value;
use tests::containers::{Containers, HTTP_SECRET, missing_engine};
use tests::doors::{Redis, Sending};
use tests::http::{Metrics, try_get};
use tests::poll::eventually;
use tests::program::shows_nothing;
use tests::writers::{Writers, check, seed};
use tests::{Door, tools};

const METAS: [&str; 3] = ["meta-1", "meta-2", "meta-3"];

/// Where a meta server shows its page and metrics, with the secret that they ask for.
fn page(containers: &Containers, meta: &str) -> String {
    let address = containers.address(meta, 34701);
    format!("anybody:{HTTP_SECRET}@{address}")
}

/// The one meta server of these that leads.
fn leader<'a>(containers: &Containers, metas: &[&'a str]) -> &'a str {
    let leads = |meta: &&&str| {
        let address = page(containers, meta);
        try_get(&address, "/ready").is_ok_and(|(status, _)| status == 200)
            && Metrics::of(&address).sum("tulpar_meta_leading", "") > 0.0
    };
    eventually("one meta server leads", || {
        let leading: Vec<&&str> = metas.iter().filter(leads).collect();
        match leading[..] {
            [meta] => Ok(*meta),
            _ => Err(format!("{leading:?}")),
        }
    })
}

fn shell(containers: &Containers, meta: &str, arguments: &[&str]) -> Result<Value, String> {
    let said = containers.shell(meta, &[&["--json"], arguments].concat())?;
    serde_json::from_str(&said).map_err(|error| format!("{said}: {error}"))
}

/// Waits until so many replica servers are alive.
fn alive(containers: &Containers, meta: &str, servers: usize) {
    eventually(&format!("{servers} replica servers are alive"), || {
        let nodes = shell(containers, meta, &["nodes"])?;
        let all = nodes.as_array().expect("a list of servers");
        let alive = all.iter().filter(|node| node["alive"] == true).count();
        (alive == servers)
            .then_some(())
            .ok_or_else(|| nodes.to_string())
    });
}

/// Waits until no partition lacks anything.
fn well(containers: &Containers, meta: &str) {
    eventually("all partitions are as they should be", || {
        let health = shell(containers, meta, &["health"])?;
        (health["unhealthy"] == 0)
            .then_some(())
            .ok_or_else(|| health.to_string())
    });
}

#[test]
fn the_compose_cluster_serves_through_the_loss_of_a_replica_server_and_of_the_leading_meta_server()
{
    if let Some(reason) = missing_engine() {
        return shows_nothing(
            "deploy/compose",
            &format!("no Docker Engine answers: {reason}"),
        );
    }
    let containers = Containers::start();
    let leading = leader(&containers, &METAS);
    alive(&containers, leading, 3);
    shell(&containers, "meta-1", &["table", "create", "default"]).expect("a table is created");
    for meta in METAS {
        eventually("those that stand by are ready too", || {
            match try_get(&page(&containers, meta), "/ready")? {
                (200, _) => Ok(()),
                (_, why) => Err(format!("{meta}: {why}")),
            }
        });
    }
    let (status, shown) = try_get(&page(&containers, leading), "/").expect("the leader's page");
    assert_eq!(status, 200, "{shown}");
    for promised in ["replica-1", "replica-2", "replica-3", "3 of 3"] {
        assert!(shown.contains(promised), "{promised} in {shown}");
    }

    let gateways = ["gateway-1", "gateway-2"].map(|name| containers.address(name, 6379));
    eventually("both gateways serve", || {
        let ping = |gateway: &String| Redis::new(gateway, Sending::Single).read(&["none".into()]);
        gateways
            .iter()
            .try_for_each(|gateway| ping(gateway).map(drop))
    });
    assert_eq!(
        tools::redis_cli(&gateways[0], &["SET", "hello", "world"]),
        "OK"
    );
    assert_eq!(tools::redis_cli(&gateways[1], &["GET", "hello"]), "world");

    let door = |gateway: &String| -> (String, Box<dyn Door>) {
        let door = Redis::new(gateway, Sending::Pipelined);
        (gateway.clone(), Box::new(door))
    };
    let writers = Writers::start(seed(), gateways.iter().map(door).collect());
    writers.go_on(200);
    containers.kill("replica-2");
    alive(&containers, leading, 2);
    writers.go_on(200);
    containers.start_again("replica-2");
    alive(&containers, leading, 3);
    well(&containers, leading);

    containers.kill(leading);
    let others: Vec<&str> = METAS.into_iter().filter(|meta| *meta != leading).collect();
    let next = leader(&containers, &others);
    eventually("the next leader creates a table", || {
        shell(&containers, next, &["table", "create", "orders"])
    });
    eventually("the new table takes a write", || {
        shell(
            &containers,
            next,
            &["--table", "orders", "set", "hello", "world"],
        )
    });
    writers.go_on(200);
    let record = writers.stop();
    for gateway in &gateways {
        check(&record, &mut Redis::new(gateway, Sending::Pipelined));
    }
}
