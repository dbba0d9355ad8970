//! Tables: created, dropped, recalled, listed, shown.

use super::{Failure, partitions};
use crate::admin::{Admin, AdminError, NewTable};
use crate::answer::Answer;
use crate::arguments::TableCommand;
use crate::grid::Grid;
use crate::progress::Progress;
use proto::common::Durability as WireDurability;
use proto::meta::{AlterTableRequest, Table, TableRules};
use serde_json::{Value, json};
use std::fmt::Write;
use std::pin::pin;
use std::time::Duration;

/// How often it is looked how far a table is.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(admin: &mut Admin, command: &TableCommand) -> Result<Answer, Failure> {
    match command {
        TableCommand::Create {
            name,
            partitions,
            replicas,
            durability,
            password,
            min_replicas,
            rules,
        } => {
            let table = create(
                admin,
                NewTable {
                    name: name.clone(),
                    partitions: *partitions,
                    replicas: *replicas,
                    durability: *durability,
                    password: password.clone().unwrap_or_default(),
                    min_replicas: min_replicas.unwrap_or_default(),
                    rules: TableRules {
                        default_ttl_ms: rules.default_ttl_ms().unwrap_or_default(),
                        read_only: rules.read_only,
                        read_operations: rules.read_operations.unwrap_or_default(),
                        write_operations: rules.write_operations.unwrap_or_default(),
                        read_bytes: rules.read_bytes.unwrap_or_default(),
                        write_bytes: rules.write_bytes.unwrap_or_default(),
                    },
                },
            )
            .await?;
            Ok(done("created", &table))
        }
        TableCommand::Alter {
            name,
            replicas,
            min_replicas,
            durability,
            password,
            no_password,
            rules,
        } => {
            let table = admin
                .alter_table(AlterTableRequest {
                    name: name.clone(),
                    replicas: *replicas,
                    min_replicas: *min_replicas,
                    password: password.clone().or(no_password.then(String::new)),
                    default_ttl_ms: rules.default_ttl_ms(),
                    read_only: rules.access(),
                    read_operations: rules.read_operations,
                    write_operations: rules.write_operations,
                    read_bytes: rules.read_bytes,
                    write_bytes: rules.write_bytes,
                    durability: durability.map(|of| WireDurability::from(of).into()),
                })
                .await?;
            Ok(done("altered", &table))
        }
        TableCommand::Rename { name, to } => {
            let table = admin.rename_table(name, to).await?;
            Ok(done("renamed", &table))
        }
        TableCommand::Drop { name, yes: _ } => {
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

/// Creates a table; whoever looks sees how many of its partitions are there.
async fn create(admin: &mut Admin, table: NewTable) -> Result<Table, AdminError> {
    let (name, partitions) = (table.name.clone(), u64::from(table.partitions));
    let progress = Progress::counting(partitions, "partitions made");
    let mut beside = admin.beside();
    let mut created = pin!(admin.create_table(table));
    if !progress.is_seen() {
        return created.await;
    }
    loop {
        tokio::select! {
            created = &mut created => return created,
            () = tokio::time::sleep(LOOK) => {}
        }
        let look = async {
            let routes = beside.show_table(&name).await?;
            let all = routes.partitions.iter();
            let made = all.filter(|route| route.configuration.is_some()).count();
            Ok::<u64, AdminError>(made as u64)
        };
        tokio::select! {
            created = &mut created => return created,
            // Before the leader has noted it there is no such table.
            made = look => progress.done(made.unwrap_or(0), partitions),
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
    let mut lines = Grid::new(&[
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
    ) + &told(&rules(table))
}

fn describe(table: &Table) -> Value {
    let rules = rules(table);
    json!({
        "name": table.name,
        "id": table.id,
        "partition_count": table.partitions,
        "replicas": table.replicas,
        "min_replicas": min_replicas(table),
        "durability": durability(table),
        "has_password": table.has_password,
        "default_ttl_ms": rules.default_ttl_ms,
        "read_only": rules.read_only,
        "read_operations": rules.read_operations,
        "write_operations": rules.write_operations,
        "read_bytes": rules.read_bytes,
        "write_bytes": rules.write_bytes,
        "dropped_at_ms": (table.dropped_at != 0).then_some(table.dropped_at),
    })
}

fn rules(table: &Table) -> TableRules {
    table.rules.unwrap_or_default()
}

/// The rules that are any, in words.
fn told(rules: &TableRules) -> String {
    let mut text = String::new();
    if rules.read_only {
        text.push_str("\nread-only: writes are refused");
    }
    if rules.default_ttl_ms > 0 {
        let seconds = rules.default_ttl_ms as f64 / 1000.0;
        let _ = write!(text, "\nwhat is written without a TTL lives {seconds} s");
    }
    for (rate, what) in [
        (rules.read_operations, "reading commands"),
        (rules.write_operations, "writing commands"),
        (rules.read_bytes, "bytes read"),
        (rules.write_bytes, "bytes written"),
    ] {
        if rate > 0 {
            let _ = write!(text, "\nat most {rate} {what} a second");
        }
    }
    text
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
