//! Who bears what: the balancer, draining, moves by hand.

use super::Failure;
use super::find::Servers;
use crate::admin::Admin;
use crate::answer::{Answer, node_id};
use crate::arguments::{BalanceCommand, MoveCommand, NodeCommand};
use crate::grid::Grid;
use indicatif::{ProgressBar, ProgressStyle};
use proto::meta::{BalanceResponse, BalanceStep, MoveRequest};
use serde_json::{Value, json};
use std::time::Duration;

/// How often it is asked how far a drain has come.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(admin: &mut Admin, command: &BalanceCommand) -> Result<Answer, Failure> {
    match command {
        BalanceCommand::Status => {
            let servers = Servers::ask(admin).await?;
            Ok(status(&admin.balance(0).await?, &servers))
        }
        BalanceCommand::Plan { steps } => {
            let servers = Servers::ask(admin).await?;
            let plan = admin.balance(*steps).await?.plan;
            let text = if plan.is_empty() {
                "Nothing is to be moved.".to_owned()
            } else {
                table(&plan, &servers)
            };
            Ok(Answer::new(values(&plan, &servers), text))
        }
        BalanceCommand::Pause => {
            admin.set_balancing(true).await?;
            let text = "paused: nothing new is moved for balance until 'balance resume'";
            Ok(Answer::new(json!({ "paused": true }), text))
        }
        BalanceCommand::Resume => {
            admin.set_balancing(false).await?;
            Ok(Answer::new(json!({ "paused": false }), "resumed"))
        }
    }
}

fn status(response: &BalanceResponse, servers: &Servers) -> Answer {
    let state = match (response.paused, response.waits_ms) {
        (true, _) => "paused".to_owned(),
        (false, 0) => "running".to_owned(),
        (false, wait) => format!(
            "waiting for the cluster to be quiet, {} s more",
            wait.div_ceil(1000)
        ),
    };
    let moves = if response.under_way.is_empty() {
        "Nothing is being moved.".to_owned()
    } else {
        table(&response.under_way, servers)
    };
    Answer::new(
        json!({
            "paused": response.paused,
            "waits_ms": response.waits_ms,
            "under_way": values(&response.under_way, servers),
        }),
        format!("The balancer is {state}.\n\n{moves}"),
    )
}

fn table(steps: &[BalanceStep], servers: &Servers) -> String {
    let mut lines = Grid::new(&[
        "table",
        "partition",
        "what",
        "from",
        "to",
        "because of",
        "for",
    ]);
    for step in steps {
        let lasts = match step.lasts_ms {
            0 => String::new(),
            ms => format!("{} s", ms / 1000),
        };
        lines.add_row([
            step.table.clone(),
            step.partition.unwrap_or_default().index.to_string(),
            what(step).to_owned(),
            servers.name(step.from),
            servers.name(step.to),
            step.reason.clone(),
            lasts,
        ]);
    }
    lines.to_string()
}

fn what(step: &BalanceStep) -> &'static str {
    match (step.primary, step.arrived) {
        (true, _) => "primary",
        (false, false) => "replica",
        (false, true) => "replica (old one goes)",
    }
}

fn values(steps: &[BalanceStep], servers: &Servers) -> Value {
    let value = |step: &BalanceStep| {
        json!({
            "table": step.table,
            "partition": step.partition.unwrap_or_default().index,
            "what": if step.primary { "primary" } else { "replica" },
            "from": { "name": servers.name(step.from), "node": node_id(step.from) },
            "to": { "name": servers.name(step.to), "node": node_id(step.to) },
            "reason": step.reason,
            "lasts_ms": step.lasts_ms,
            "arrived": step.arrived,
        })
    };
    Value::Array(steps.iter().map(value).collect())
}

pub(super) async fn shift(admin: &mut Admin, command: &MoveCommand) -> Result<Answer, Failure> {
    let servers = Servers::ask(admin).await?;
    let text = match command {
        MoveCommand::Replica {
            name,
            partition,
            from,
            to,
        } => {
            let request = MoveRequest {
                table: name.clone(),
                index: *partition,
                from: servers.id(from)?,
                to: servers.id(to)?,
            };
            admin.move_replica(request).await?;
            "the replica is being moved; 'balance status' shows how far it is"
        }
        MoveCommand::Primary {
            name,
            partition,
            to,
        } => {
            let request = MoveRequest {
                table: name.clone(),
                index: *partition,
                from: 0,
                to: servers.id(to)?,
            };
            admin.move_primary(request).await?;
            "the lead is being handed over"
        }
    };
    Ok(Answer::new(json!({ "moving": true }), text))
}

pub(super) async fn node(admin: &mut Admin, command: &NodeCommand) -> Result<Answer, Failure> {
    let servers = Servers::ask(admin).await?;
    match command {
        NodeCommand::Drain { node, wait, yes: _ } => {
            let id = servers.id(node)?;
            admin.drain(id, true).await?;
            let left = if *wait {
                wait_until_empty(admin, id).await?
            } else {
                servers.replicas(id)
            };
            let text = match left {
                0 => format!("{node} has no replicas any more: it may be stopped for good"),
                left => format!("{node} is being drained: {left} replicas are to be moved"),
            };
            Ok(Answer::new(
                json!({ "drained": true, "replicas": left }),
                text,
            ))
        }
        NodeCommand::Forget { node } => {
            admin.forget(servers.id_of_dead(node)?).await?;
            Ok(Answer::new(
                json!({ "forgotten": true }),
                format!("{node} is not shown any more"),
            ))
        }
        NodeCommand::Undrain { node } => {
            admin.drain(servers.id(node)?, false).await?;
            Ok(Answer::new(
                json!({ "drained": false }),
                format!("{node} takes its share again"),
            ))
        }
    }
}

/// Shows how far it is, where somebody looks.
async fn wait_until_empty(admin: &mut Admin, id: u64) -> Result<u32, Failure> {
    let mut most = 0;
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos} of {len} replicas moved, {elapsed}")
    {
        bar.set_style(style);
    }
    loop {
        let left = Servers::ask(admin).await?.replicas(id);
        most = most.max(left);
        bar.set_length(u64::from(most));
        bar.set_position(u64::from(most - left));
        if left == 0 {
            bar.finish_and_clear();
            return Ok(0);
        }
        tokio::time::sleep(LOOK).await;
    }
}
