//! The balancer as operators see it: its plan, pausing it and letting it work again. Real processes.

use serde_json::{Value, json};
use tests::eventually;
use tests::fleet::cluster::{Fleet, FleetOptions, Placement, TABLE};

/// Looks at a paused balancer, each of which would find it at work if it were not.
const LOOKS: usize = 20;

/// How many copies are on the server.
fn copies(placement: &[Placement], server: &str) -> usize {
    let has = |partition: &&Placement| {
        partition.primary == server || partition.secondaries.iter().any(|name| name == server)
    };
    placement.iter().filter(has).count()
}

/// Of each step of a plan what is moved, where to and why.
fn steps(plan: &Value) -> Vec<[&str; 3]> {
    let steps = plan.as_array().expect("a list of steps").iter();
    steps
        .map(|step| {
            let said = [&step["what"], &step["to"]["name"], &step["reason"]];
            said.map(|value| value.as_str().expect("a text"))
        })
        .collect()
}

#[test]
fn a_plan_is_shown_kept_while_the_balancer_is_paused_and_carried_out_when_it_is_resumed() {
    let fleet = Fleet::start(FleetOptions {
        copies: 2,
        partitions: 6,
        namespaces: false,
        meta_settings: "balance.after = \"1s\"".into(),
        ..FleetOptions::default()
    });
    let shell = fleet.shell();
    let names = ["replica-1", "replica-2", "replica-3"];
    eventually("all is even from the start", || {
        let plan = shell.json(&["balance", "plan"]);
        (plan == json!([])).then_some(()).ok_or(plan.to_string())
    });
    for number in 0..50 {
        shell.json(&[
            "--table",
            TABLE,
            "set",
            &format!("k{number}"),
            &number.to_string(),
        ]);
    }
    let text = shell.json(&["balance", "pause"]);
    assert_eq!(text, json!({ "paused": true }));

    // Everything leaves the first server.
    for partition in fleet.whole() {
        let others = |name: &&str| {
            *name != partition.primary && !partition.secondaries.iter().any(|known| known == *name)
        };
        let free = names
            .into_iter()
            .find(others)
            .expect("two of three have a copy");
        if free != names[0] {
            let number = partition.partition.to_string();
            let words = [
                "move", "replica", TABLE, &number, "--from", names[0], "--to", free, "--wait",
            ];
            assert_eq!(shell.json(&words), json!({ "moved": true }));
        }
    }
    assert_eq!(copies(&fleet.whole(), names[0]), 0);
    let plan = shell.json(&["balance", "plan"]);
    let mut moved = steps(&plan);
    moved.retain(|[what, ..]| *what == "replica");
    assert_eq!(moved, [["replica", names[0], "replicas"]; 4], "{plan}");
    let first = shell.json(&["balance", "plan", "--steps", "1"]);
    assert_eq!(
        first.as_array(),
        plan.as_array().map(|all| all[..1].to_vec()).as_ref()
    );

    // Nothing else holds it back any more.
    eventually("the cluster has been quiet for long enough", || {
        let status = shell.json(&["balance", "status"]);
        (status["waits_ms"] == 0)
            .then_some(())
            .ok_or(status.to_string())
    });
    for _ in 0..LOOKS {
        let status = shell.json(&["balance", "status"]);
        assert_eq!(
            (&status["paused"], &status["under_way"]),
            (&json!(true), &json!([]))
        );
    }
    assert_eq!(
        copies(&fleet.whole(), names[0]),
        0,
        "a plan changes nothing"
    );

    assert_eq!(
        shell.json(&["balance", "resume"]),
        json!({ "paused": false })
    );
    eventually("every server has its share again", || {
        let placement = fleet.placement()?;
        let share = names.map(|name| copies(&placement, name));
        let plan = shell.json(&["balance", "plan"]);
        (share == [4, 4, 4] && plan == json!([]))
            .then_some(())
            .ok_or_else(|| format!("{share:?}, and {plan} is still to be done"))
    });
    assert_eq!(shell.json(&["balance", "status"])["paused"], false);
    fleet.equal_copies();
    for number in 0..50 {
        let read = shell.json(&["--table", TABLE, "get", &format!("k{number}")]);
        assert_eq!(read, json!(number.to_string()));
    }
}
