//! The table `default`, which a new onebox begins with, and the proof that it serves.

use super::options::Options;
use admin_shell::{Admin, AdminError, NewTable};
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::time::Duration;
use tulpar_client::{Client, ClientOptions, Error, Table};

const NAME: &str = "default";
const DEFAULT_REPLICAS: u32 = 3;
/// Between two questions to servers that are not ready yet.
const PAUSE: Duration = Duration::from_millis(100);
/// How many partitions are read before the onebox calls itself ready. Each read opens a partition's files, and a directory may
/// hold many thousands that nobody asks for.
const PARTITIONS_READ: u32 = 64;

/// Creates the table if this cluster never had one, and waits until it serves.
pub(super) async fn prepare(
    meta: &[SocketAddr],
    options: &Options,
    replica_servers: usize,
) -> anyhow::Result<()> {
    let meta: Vec<String> = meta.iter().map(ToString::to_string).collect();
    let mut admin = Admin::new(meta.clone(), admin_secret().as_deref())?;
    let tables = wait_for_answer(&mut admin).await?;
    if tables.is_empty() {
        wait_for_nodes(&mut admin, replica_servers).await?;
        create(&mut admin, options, replica_servers).await?;
    } else if !tables
        .iter()
        .any(|table| table.name == NAME && table.dropped_at == 0)
    {
        return Ok(());
    }
    let client = Client::connect(ClientOptions::new(meta)).await?;
    match client.table(NAME).await {
        Ok(table) => wait_until_it_serves(&table).await,
        // Its password is the user's, and so is the proof.
        Err(Error::Unauthorized(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What the meta servers want to be shown: they have inherited their settings.
fn admin_secret() -> Option<String> {
    std::env::var("TULPAR__META__ADMIN_SECRET").ok()
}

async fn wait_for_answer(admin: &mut Admin) -> anyhow::Result<Vec<proto::meta::Table>> {
    loop {
        match admin.list_tables(true).await {
            Err(AdminError::Unreachable { .. }) => tokio::time::sleep(PAUSE).await,
            answer => return answer.context("asking for the tables"),
        }
    }
}

/// All of them, so that the first table is spread over all of them.
async fn wait_for_nodes(admin: &mut Admin, replica_servers: usize) -> anyhow::Result<()> {
    loop {
        let nodes = match admin.list_nodes().await {
            Err(AdminError::Unreachable { .. }) => Vec::new(),
            answer => answer.context("asking for the nodes")?,
        };
        if nodes.iter().filter(|node| node.alive).count() >= replica_servers {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn create(
    admin: &mut Admin,
    options: &Options,
    replica_servers: usize,
) -> anyhow::Result<()> {
    let replicas = options
        .replicas
        .unwrap_or(DEFAULT_REPLICAS.min(replica_servers as u32));
    if replicas as usize > replica_servers {
        bail!(
            "--replicas {replicas} needs as many replica servers, and there are {replica_servers}"
        );
    }
    let table = NewTable {
        name: NAME.to_owned(),
        partitions: options.partitions,
        replicas,
        durability: options.durability,
        ..NewTable::default()
    };
    admin
        .create_table(table)
        .await
        .context("creating the table 'default'")?;
    Ok(())
}

/// Reads from partitions all over the table until each has answered once.
async fn wait_until_it_serves(table: &Table) -> anyhow::Result<()> {
    for key in keys(table.partitions()) {
        loop {
            match table.get(&key).await {
                // The key is free for users, who may have put a hash there.
                Ok(_) | Err(Error::Rejected(_)) => break,
                Err(Error::Timeout(_) | Error::Unavailable(_) | Error::OutcomeUnknown(_)) => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error @ (Error::Unauthorized(_) | Error::NoSuchTable(_))) => {
                    return Err(error).context("reading the table 'default'");
                }
            }
        }
    }
    Ok(())
}

/// A key in each of some partitions, spread evenly.
fn keys(partitions: u32) -> Vec<String> {
    let read = partitions.min(PARTITIONS_READ);
    (0..read)
        .filter_map(|number| {
            let wanted = number * partitions / read;
            (0u32..)
                .take(1 << 20)
                .map(|number| format!("ready:{number}"))
                .find(|key| types::Slot::of(key.as_bytes()).partition(partitions) == wanted)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_keys_read_are_of_as_many_partitions() {
        for partitions in [1, 3, 8, 100, 16384] {
            let touched: HashSet<u32> = keys(partitions)
                .iter()
                .map(|key| types::Slot::of(key.as_bytes()).partition(partitions))
                .collect();
            assert_eq!(touched.len() as u32, partitions.min(PARTITIONS_READ));
        }
    }
}
