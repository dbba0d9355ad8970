//! Who bears what: the balancer, draining, moves by hand.

use super::Failure;
use super::find::Servers;
use super::partitions::{members, primary};
use crate::admin::Admin;
use crate::answer::{Answer, node_id};
use crate::arguments::{BalanceCommand, MoveCommand, NodeCommand};
use crate::grid::Grid;
use crate::progress::Progress;
use proto::common::Configuration;
use proto::meta::{BalanceResponse, BalanceStep, MoveRequest};
use serde_json::{Value, json};
use std::time::Duration;

/// How often it is asked how far a drain or a move has come.
const LOOK: Duration = Duration::from_millis(500);
/// So many looks in which nothing is under way for it: then a move was given up.
const IDLE: u32 = 6;

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
            wait,
        } => {
            let request = MoveRequest {
                table: name.clone(),
                index: *partition,
                from: servers.id(from)?,
                to: servers.id(to)?,
            };
            admin.move_replica(request.clone()).await?;
            if *wait {
                let (from, to) = (request.from, request.to);
                let moved = move |configuration: &Configuration| {
                    members(configuration).any(|member| member == to)
                        && members(configuration).all(|member| member != from)
                };
                wait_until(admin, &request, moved).await?;
                return Ok(Answer::new(
                    json!({ "moved": true }),
                    "the replica is moved",
                ));
            }
            "the replica is being moved; 'balance status' shows how far it is"
        }
        MoveCommand::Primary {
            name,
            partition,
            to,
            wait,
        } => {
            let request = MoveRequest {
                table: name.clone(),
                index: *partition,
                from: 0,
                to: servers.id(to)?,
            };
            admin.move_primary(request.clone()).await?;
            if *wait {
                let to = request.to;
                let moved = move |configuration: &Configuration| primary(configuration) == to;
                wait_until(admin, &request, moved).await?;
                return Ok(Answer::new(
                    json!({ "moved": true }),
                    "the lead is handed over",
                ));
            }
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
            admin.forget(servers.id_of_away(node)?).await?;
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

async fn wait_until_empty(admin: &mut Admin, id: u64) -> Result<u32, Failure> {
    let progress = Progress::counting(0, "replicas moved");
    let mut most = 0;
    loop {
        let left = Servers::ask(admin).await?.replicas(id);
        most = most.max(left);
        progress.done(u64::from(most - left), u64::from(most));
        if left == 0 {
            return Ok(0);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the partition's configuration is as it is to be, or nothing is done about that any more.
async fn wait_until(
    admin: &mut Admin,
    request: &MoveRequest,
    moved: impl Fn(&Configuration) -> bool,
) -> Result<(), Failure> {
    let _progress = Progress::waiting("moving");
    let mut idle = 0;
    loop {
        let under_way = admin.balance(0).await?.under_way;
        let is_it = |step: &BalanceStep| {
            let index = step.partition.unwrap_or_default().index;
            step.table == request.table && index == request.index
        };
        let routes = admin.show_table(&request.table).await?;
        let mut partitions = routes.partitions.iter();
        let configuration = partitions
            .find(|route| route.index == request.index)
            .and_then(|route| route.configuration.as_ref());
        if configuration.is_some_and(&moved) {
            return Ok(());
        }
        // What has just ended may not be seen in the configuration yet.
        idle = if under_way.iter().any(is_it) {
            0
        } else {
            idle + 1
        };
        if idle > IDLE {
            return Err(Failure::Other(
                "the move was given up; 'health' may say why".to_owned(),
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}
