//! What each command does: asks, and makes an [`Answer`] of what it hears.
//!
//! [`tables`], [`nodes`], [`balance`] and [`trouble`] ask the meta servers, [`data`] and [`keys`] ask the replica servers through the client library,
//! [`partitions`] and [`digests`] ask both. [`hot`], [`slow_log`] and [`demand`] ask the replica servers themselves, by [`servers`].

mod balance;
mod data;
mod demand;
mod digests;
mod find;
mod hot;
mod keys;
mod nodes;
mod partitions;
mod servers;
mod slow_log;
mod tables;
mod trouble;

pub(crate) use find::Servers;

use crate::admin::{Admin, AdminError};
use crate::answer::Answer;
use crate::arguments::{Command, Connection};
use tulpar_client::{Client, ClientOptions, Table};

/// Why a command was not done. What a caller does is the same in every case: tell the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Data(#[from] tulpar_client::Error),
    #[error("{0}")]
    Other(String),
}

/// One user's connection to one cluster; connections are made when a command needs them.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    admin: Option<Admin>,
    client: Option<Client>,
}

impl Session {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            admin: None,
            client: None,
        }
    }

    /// Does one command.
    pub(crate) async fn run(&mut self, command: &Command) -> Result<Answer, Failure> {
        match command {
            Command::Table(command) => tables::run(self.admin()?, command).await,
            Command::Nodes => nodes::list(self.admin()?).await,
            Command::Node(command) => balance::node(self.admin()?, command).await,
            Command::Balance(command) => balance::run(self.admin()?, command).await,
            Command::Move(command) => balance::shift(self.admin()?, command).await,
            Command::Health { name } => trouble::health(self.admin()?, name.as_deref()).await,
            Command::Hot { name, by, limit } => {
                hot::list(self.admin()?, name.as_deref(), *by, *limit).await
            }
            Command::Slowlog { node, limit, reset } => {
                let wanted = slow_log::Ask {
                    node: node.as_deref(),
                    limit: *limit,
                    reset: *reset,
                };
                slow_log::list(self.admin()?, wanted).await
            }
            Command::Config { node, filter } => {
                demand::config(self.admin()?, node, filter.as_deref()).await
            }
            Command::Metrics { node, filter } => {
                demand::metrics(self.admin()?, node, filter.as_deref()).await
            }
            Command::Partition(command) => trouble::partition(self.admin()?, command).await,
            Command::Meta(command) => trouble::meta(self.admin()?, command).await,
            Command::Partitions {
                name,
                digest,
                repair,
            } => {
                let ask = match (digest, repair) {
                    (false, _) => partitions::Ask::Nothing,
                    (true, false) => partitions::Ask::Digests,
                    (true, true) => partitions::Ask::Repair,
                };
                partitions::list(self.admin()?, name, ask).await
            }
            Command::Route { key } => {
                let name = self.connection.table.clone();
                partitions::route(self.admin()?, &name, key).await
            }
            data_command => data::run(&self.table().await?, data_command).await,
        }
    }

    /// Goes on with another table.
    pub(crate) fn choose_table(&mut self, name: String, password: Option<String>) {
        self.connection.table = name;
        self.connection.password = password;
    }

    pub(crate) fn admin(&mut self) -> Result<&mut Admin, AdminError> {
        match &mut self.admin {
            Some(admin) => Ok(admin),
            unopened => {
                let secret = self.connection.admin_secret.as_deref();
                Ok(unopened.insert(Admin::new(self.connection.meta.clone(), secret)?))
            }
        }
    }

    async fn table(&mut self) -> Result<Table, Failure> {
        let client = if let Some(client) = &self.client {
            client
        } else {
            let options = ClientOptions::new(self.connection.meta.clone());
            self.client.insert(Client::connect(options).await?)
        };
        let name = &self.connection.table;
        let table = match &self.connection.password {
            Some(password) => client.table_with_password(name, password).await?,
            None => client.table(name).await?,
        };
        Ok(table)
    }
}
