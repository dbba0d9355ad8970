//! What `tulpar shell --json` says of a cluster.

use crate::cluster::Cluster;
use crate::poll::eventually;
use crate::program::{self, Ended};
use serde_json::Value;

/// The administrator's shell of one cluster.
#[derive(Clone, Debug)]
pub struct Shell {
    meta: String,
}

impl Cluster {
    /// One run of the shell.
    pub fn shell_run(&self, arguments: &[&str]) -> Ended {
        Shell::new(self.meta()).run(arguments)
    }

    /// The JSON value that a command which must succeed prints.
    pub fn shell(&self, arguments: &[&str]) -> Value {
        Shell::new(self.meta()).json(arguments)
    }

    /// The JSON value, or the reason why not.
    pub fn try_shell(&self, arguments: &[&str]) -> Result<Value, String> {
        Shell::new(self.meta()).try_json(arguments)
    }

    /// Creates a table of four partitions with three copies, asking again until it is there.
    pub fn create(&self, name: &str) {
        Shell::new(self.meta()).create(name);
    }

    /// Waits until every partition of the table has `copies` copies and all of them are equal; returns the partitions.
    pub fn equal_copies(&self, table: &str, copies: usize) -> Vec<Value> {
        Shell::new(self.meta()).equal_copies(table, copies)
    }
}

impl Shell {
    /// `host:port` of a meta server.
    pub fn new(meta: String) -> Self {
        Self { meta }
    }

    /// One run of the shell.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let arguments = ["shell", "--meta", &self.meta, "--json"]
            .into_iter()
            .chain(arguments.iter().copied());
        program::run(&mut program::command(arguments))
    }

    /// The JSON value that a command which must succeed prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.try_json(arguments)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// The JSON value, or the reason why not.
    pub fn try_json(&self, arguments: &[&str]) -> Result<Value, String> {
        let ended = self.run(arguments);
        match ended.status.code() {
            Some(0) => Ok(serde_json::from_str(&ended.stdout).unwrap_or_else(|error| {
                panic!(
                    "{arguments:?}: not one JSON value ({error}): {}",
                    ended.stdout
                )
            })),
            Some(1) => {
                assert!(
                    ended.stdout.is_empty(),
                    "a refusal prints nothing on stdout: {ended:?}"
                );
                assert!(!ended.stderr.trim().is_empty(), "a refusal says why");
                Err(ended.stderr.trim().to_owned())
            }
            _ => panic!("{arguments:?}: {ended:?}"),
        }
    }

    /// Creates a table of four partitions with three copies, asking again until it is there.
    pub fn create(&self, name: &str) {
        let create = [
            "table",
            "create",
            name,
            "--partitions",
            "4",
            "--replicas",
            "3",
        ];
        eventually(&format!("table {name} is created"), || {
            match self.try_json(&create) {
                // By an attempt whose answer was lost with the leader.
                Err(reason) if reason.contains("already") => Ok(()),
                answer => answer.map(drop),
            }
        });
    }

    /// Waits until every partition of the table has `copies` copies and all of them are equal; returns the partitions.
    pub fn equal_copies(&self, table: &str, copies: usize) -> Vec<Value> {
        eventually(
            &format!("all {copies} copies of every partition of {table} are equal"),
            || {
                let answer = self.try_json(&["partitions", table, "--digest"])?;
                let partitions = answer["partitions"]
                    .as_array()
                    .expect("a list of partitions")
                    .clone();
                assert!(!partitions.is_empty(), "a table has partitions");
                match partitions
                    .iter()
                    .find(|partition| !equal(partition, copies))
                {
                    None => Ok(partitions),
                    Some(different) => Err(different.to_string()),
                }
            },
        )
    }
}

/// Judged by the digests themselves, not only by what the shell makes of them.
fn equal(partition: &Value, copies: usize) -> bool {
    let all = partition["copies"].as_array().expect("a list of copies");
    let first = all.first().map(|copy| &copy["digest"]);
    partition["equal"] == true
        && all.len() == copies
        && all
            .iter()
            .all(|copy| copy["digest"].is_string() && Some(&copy["digest"]) == first)
}
