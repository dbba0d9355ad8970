//! The slow commands that the replica servers remember.

use super::Failure;
use super::servers::{Client, Heard, ask_all, ask_one};
use crate::admin::Admin;
use crate::answer::{Answer, bytes, readable};
use crate::grid::Grid;
use proto::inspect::{SlowCommand, SlowLogRequest, SlowLogResponse};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// Of all servers, if none is named.
    pub(super) node: Option<&'a str>,
    pub(super) limit: u32,
    pub(super) reset: bool,
}

pub(super) async fn list(admin: &mut Admin, wanted: Ask<'_>) -> Result<Answer, Failure> {
    let request = SlowLogRequest {
        limit: wanted.limit,
        reset: wanted.reset,
    };
    let ask = |mut client: Client, request| async move { client.slow_log(request).await };
    let heard = match wanted.node {
        None => ask_all(admin, request, ask).await?,
        Some(node) => Heard {
            answers: vec![ask_one(admin, node, request, ask).await?],
            silent: Vec::new(),
        },
    };
    Ok(shown(&heard, wanted))
}

fn shown(heard: &Heard<SlowLogResponse>, wanted: Ask<'_>) -> Answer {
    let mut all: Vec<(&str, &SlowCommand)> = Vec::new();
    for (server, answer) in &heard.answers {
        all.extend(answer.commands.iter().map(|command| (&server[..], command)));
    }
    // The newest last, where the eye is.
    all.sort_by_key(|(_, command)| command.at_ms);
    let there: u64 = heard.answers.iter().map(|(_, answer)| answer.all).sum();
    let all = &all[all.len().saturating_sub(wanted.limit as usize)..];
    let mut lines = Grid::new(&[
        "when (UTC)",
        "server",
        "took",
        "table",
        "partition",
        "client",
        "command",
    ]);
    for (server, command) in all {
        let words: Vec<String> = command.args.iter().map(|arg| readable(arg)).collect();
        lines.add_row([
            when(command.at_ms),
            (*server).to_owned(),
            took(command.took_us),
            command.table.clone(),
            command.partition.unwrap_or_default().index.to_string(),
            command.client.clone(),
            words.join(" "),
        ]);
    }
    let text = match (all.len() as u64, there) {
        (0, _) => "No command took long.".to_owned(),
        (shown, there) if there > shown => format!(
            "{lines}

{shown} of {there} are shown."
        ),
        _ => lines.to_string(),
    };
    let forgotten = if wanted.reset && there > 0 {
        "
They are forgotten now."
    } else {
        ""
    };
    let values: Vec<Value> = all
        .iter()
        .map(|(server, command)| value(server, command))
        .collect();
    Answer::new(
        json!({ "commands": values, "all": there, "unanswered": heard.silent_json() }),
        text + forgotten + &heard.complaints(),
    )
}

fn value(server: &str, command: &SlowCommand) -> Value {
    json!({
        "server": server,
        "id": command.id,
        "at_ms": command.at_ms,
        "took_us": command.took_us,
        "table": command.table,
        "partition": command.partition.unwrap_or_default().index,
        "client": command.client,
        "command": command.args.iter().map(|arg| bytes(arg)).collect::<Vec<_>>(),
    })
}

fn when(at_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at_ms);
    let text = humantime::format_rfc3339_millis(at).to_string();
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

fn took(micros: u64) -> String {
    let milliseconds = micros as f64 / 1000.0;
    if micros < 10_000 {
        format!("{milliseconds:.2} ms")
    } else {
        format!("{milliseconds:.0} ms")
    }
}
