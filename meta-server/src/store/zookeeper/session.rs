//! One session after the other: connecting, preparing the cluster's path, the election, and noticing that a term has ended.

use super::options::ZooKeeperOptions;
use super::paths::{DIRECTORIES, LEADER, TERM};
use super::term::ZooKeeperTerm;
use super::{repeated, restore};
use crate::store::{Led, MetadataStore, OpenError};
use std::time::Duration;
use tokio::sync::watch;
use zookeeper_client::{
    Acls, Client, CreateMode, CreateOptions, Error, LockPrefix, OwnedLockClient, SessionState,
};

/// How long to wait before something is asked again that failed for another reason than a broken connection.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The cluster's documents in an ensemble, as one meta server reaches them.
#[derive(Debug)]
pub struct ZooKeeperStore {
    options: ZooKeeperOptions,
    /// Where others reach this meta server.
    address: String,
}

impl ZooKeeperStore {
    /// Connects to nothing yet. `address` is what the others tell of this meta server when it leads.
    pub fn new(options: ZooKeeperOptions, address: String) -> Self {
        Self { options, address }
    }

    fn acls(&self) -> Acls<'static> {
        if self.options.user.is_some() {
            Acls::creator_all()
        } else {
            Acls::anyone_all()
        }
    }

    async fn connect(&self) -> Result<Client, Error> {
        let mut connector = Client::connector().with_session_timeout(self.options.session_timeout);
        if let Some(user) = &self.options.user {
            connector = connector.with_auth("digest", user.digest().as_bytes());
        }
        let client = connector.connect(&self.options.servers).await?;
        let granted = client.session_timeout();
        if granted > self.options.session_timeout {
            tracing::warn!(
                "ZooKeeper makes the session timeout {granted:?} instead of {:?}, and a new leader waits as long for the dead one: lower its minSessionTimeout",
                self.options.session_timeout
            );
        }
        Ok(client)
    }

    /// Makes the cluster's path and what is directly under it, if they are not there.
    async fn prepare(&self, client: Client) -> Result<Client, Error> {
        let chroot = &self.options.chroot;
        let own = CreateMode::Persistent.with_acls(self.acls());
        // Other clusters have their paths beside ours, and other users.
        let anyone = CreateMode::Persistent.with_acls(Acls::anyone_all());
        let shared = chroot.rsplit_once('/').map_or("", |(shared, _)| shared);
        if !shared.is_empty() {
            ensure(&client, shared, &anyone).await?;
        }
        ensure(&client, chroot, &own).await?;
        let client = client
            .chroot(chroot.clone())
            .map_err(|_| Error::BadArguments(&"the cluster's path is not valid"))?;
        for path in DIRECTORIES.into_iter().chain([TERM]) {
            ensure(&client, path, &own).await?;
        }
        Ok(client)
    }

    /// Waits until this session's znode is the lowest; tells meanwhile whose is.
    async fn compete(
        &self,
        client: &Client,
        leader: &watch::Sender<Option<String>>,
    ) -> Result<OwnedLockClient, Error> {
        let prefix = LockPrefix::new_curator(LEADER, "latch-")?;
        let lock = client.lock(prefix, self.address.as_bytes(), self.acls());
        tokio::select! {
            lock = lock => Ok(lock?.into_owned()),
            never = follow(client, leader) => match never {},
        }
    }
}

impl MetadataStore for ZooKeeperStore {
    type Term = ZooKeeperTerm;

    async fn lead(
        &self,
        leader: &watch::Sender<Option<String>>,
    ) -> Result<Led<ZooKeeperTerm>, OpenError> {
        let at_once = async {
            let client = self.connect().await?;
            let client = self.prepare(client).await?;
            let lock = self.compete(&client, leader).await?;
            leader.send_replace(Some(self.address.clone()));
            let epoch = repeated(|| lock.set_data(TERM, &[], None)).await?;
            let entries = restore::all(&client).await?;
            let ended = Box::pin(ended(client, lock.lock_path().to_owned()));
            let term = ZooKeeperTerm::new(lock, self.acls(), restore::version(&epoch));
            Ok(Led {
                term,
                entries,
                ended,
            })
        };
        at_once.await.map_err(|error: restore::RestoreError| {
            error.at(&self.options.servers, &self.options.chroot)
        })
    }
}

/// Makes a path if it is not there. Looking first: whoever may not create beside it can still use it.
async fn ensure(client: &Client, path: &str, how: &CreateOptions<'_>) -> Result<(), Error> {
    if repeated(|| client.check_stat(path)).await?.is_none() {
        repeated(|| client.mkdir(path, how)).await?;
    }
    Ok(())
}

/// Tells who leads, for ever.
async fn follow(
    client: &Client,
    leader: &watch::Sender<Option<String>>,
) -> std::convert::Infallible {
    loop {
        let watched = async {
            let (mut candidates, watcher) = client.list_and_watch_children(LEADER).await?;
            // Their names end with ten digits, and begin with something random.
            candidates.sort_by(|a, b| sequence(a).cmp(sequence(b)));
            if let Some(first) = candidates.first() {
                let (address, _) = client.get_data(&format!("{LEADER}/{first}")).await?;
                let address = String::from_utf8_lossy(&address).into_owned();
                leader.send_if_modified(|known| {
                    let news = known.as_ref() != Some(&address);
                    *known = Some(address);
                    news
                });
            }
            Ok::<_, Error>(watcher)
        };
        match watched.await {
            Ok(watcher) => drop(watcher.changed().await),
            // Whoever waits for the lock hears of it too, and ends this.
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

fn sequence(name: &str) -> &str {
    name.get(name.len().saturating_sub(10)..).unwrap_or(name)
}

/// Ends when the session has ended, or the lock's znode is gone: the term is over, whether or not a write has failed yet.
async fn ended(client: Client, lock: String) {
    let mut state = client.state_watcher();
    let session = async {
        while !client.state().is_terminated() {
            if state.changed().await == SessionState::Disconnected {
                tracing::warn!("the connection to ZooKeeper broke");
            }
        }
        "its session has ended"
    };
    let znode = async {
        loop {
            match client.check_and_watch_stat(&lock).await {
                Ok((None, _)) => return "its znode is gone",
                Ok((Some(_), watcher)) => drop(watcher.changed().await),
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    };
    let why = tokio::select! { why = session => why, why = znode => why };
    tracing::warn!("this meta server leads no longer: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_candidates_is_found_by_the_end_of_its_name() {
        let mut names = ["_c_0-latch-0000000010", "_c_f-latch-0000000009"];
        names.sort_by(|a, b| sequence(a).cmp(sequence(b)));
        assert_eq!(names[0], "_c_f-latch-0000000009");
        assert_eq!(sequence("short"), "short");
    }
}
