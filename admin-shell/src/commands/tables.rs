//! Tables: created, dropped, recalled, listed, shown.

use super::{Failure, partitions};
use crate::admin::{Admin, NewTable};
use crate::answer::{Answer, grid};
use crate::arguments::TableCommand;
use proto::meta::Table;
use serde_json::{Value, json};

pub(super) async fn run(admin: &mut Admin, command: &TableCommand) -> Result<Answer, Failure> {
    match command {
        TableCommand::Create {
            name,
            partitions,
            replicas,
            durability,
            password,
            min_replicas,
        } => {
            let table = admin
                .create_table(NewTable {
                    name: name.clone(),
                    partitions: *partitions,
                    replicas: *replicas,
                    durability: *durability,
                    password: password.clone().unwrap_or_default(),
                    min_replicas: min_replicas.unwrap_or_default(),
                })
                .await?;
            Ok(done("created", &table))
        }
        TableCommand::Drop { name } => {
            let table = admin.drop_table(name).await?;
            Ok(done("dropped", &table))
        }
        TableCommand::Recall { name } => {
            let table = admin.recall_table(name).await?;
            Ok(done("recalled", &table))
        }
        TableCommand::List { all } => Ok(list(&admin.list_tables(*all).await?)),
        TableCommand::Show { name } => {
            let routes = admin.show_table(name).await?;
            let table = routes.table.clone().unwrap_or_default();
            let mut answer = partitions::placed(&routes);
            if let Value::Object(of_table) = describe(&table)
                && let Value::Object(shown) = &mut answer.json
            {
                shown.remove("table");
                shown.extend(of_table);
            }
            answer.text = format!("{}\n\n{}", sentence(&table), answer.text);
            Ok(answer)
        }
    }
}

fn done(what: &str, table: &Table) -> Answer {
    let hint = match what {
        "dropped" => format!("\nRecall it with: table recall {}", table.name),
        _ => String::new(),
    };
    Answer {
        json: describe(table),
        text: format!("{what}: {}{hint}", sentence(table)),
    }
}

fn list(tables: &[Table]) -> Answer {
    let mut lines = grid(&[
        "name",
        "id",
        "partitions",
        "replicas",
        "durability",
        "password",
        "state",
    ]);
    for table in tables {
        lines.add_row([
            table.name.clone(),
            table.id.to_string(),
            table.partitions.to_string(),
            table.replicas.to_string(),
            durability(table).to_owned(),
            if table.has_password { "yes" } else { "no" }.to_owned(),
            state(table).to_owned(),
        ]);
    }
    Answer {
        json: Value::Array(tables.iter().map(describe).collect()),
        text: lines.to_string(),
    }
}

fn sentence(table: &Table) -> String {
    format!(
        "table {} (number {}, {}) with {} partitions of {} copies, writes {}, refused below {} copies{}",
        table.name,
        table.id,
        state(table),
        table.partitions,
        table.replicas,
        durability(table),
        min_replicas(table),
        if table.has_password {
            ", with a password"
        } else {
            ""
        },
    )
}

fn describe(table: &Table) -> Value {
    json!({
        "name": table.name,
        "id": table.id,
        "partition_count": table.partitions,
        "replicas": table.replicas,
        "min_replicas": min_replicas(table),
        "durability": durability(table),
        "has_password": table.has_password,
        "dropped_at_ms": (table.dropped_at != 0).then_some(table.dropped_at),
    })
}

fn min_replicas(table: &Table) -> u32 {
    match table.min_replicas {
        0 => table.replicas / 2 + 1,
        chosen => chosen,
    }
}

fn durability(table: &Table) -> &'static str {
    match table.durability() {
        proto::common::Durability::Sync => "sync",
        proto::common::Durability::Buffered => "buffered",
    }
}

fn state(table: &Table) -> &'static str {
    if table.dropped_at == 0 {
        "in use"
    } else {
        "dropped"
    }
}
