//! One term after the other: competes, leads, and when a term has ended competes again. Never gives up but for what needs a person.
//!
//! ```text
//!   ┌─► competing (commands are refused) ──► leading (commands go to the term's Leader) ──┐
//!   └──────────── the term ended, or a write failed: all streams are closed ◄─────────────┘
//! ```

use super::{Command, Leader, TermEnd, now};
use crate::store::{Led, MetadataStore, OpenError, Term};
use placement::{Cluster, RestoreError, Settings};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How long to wait before leading is tried again after the store failed.
const LEAD_AGAIN: Duration = Duration::from_millis(500);

/// How long the store may take to say that a right given up is gone; then it is left to run out.
const RESIGNATION: Duration = Duration::from_secs(2);

/// Why no more terms begin though nobody said so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaderError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

impl LeaderError {
    /// Whether it may work the next time, without anybody's help.
    fn passes(&self) -> bool {
        matches!(
            self,
            Self::Open(OpenError::Unusable { .. } | OpenError::Ensemble { .. })
        )
    }
}

/// A term just begun: the right to write, the cluster as stored, and the term's end.
pub(crate) struct Leading<T> {
    pub(crate) term: T,
    pub(crate) cluster: Cluster,
    pub(crate) ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Leads the store, which may wait for another to lead no longer, and restores the cluster from it.
pub(crate) async fn lead<S: MetadataStore>(
    store: &S,
    settings: &Settings,
    leader: &watch::Sender<Option<String>>,
) -> Result<Leading<S::Term>, LeaderError> {
    let Led {
        term,
        entries,
        ended,
    } = store.lead(leader).await?;
    let cluster = Cluster::restore(settings.clone(), term.epoch(), entries, now())?;
    tracing::info!(
        epoch = term.epoch(),
        tables = cluster.tables().count(),
        "leading"
    );
    Ok(Leading {
        term,
        cluster,
        ended,
    })
}

/// All terms of a process.
pub(crate) struct Terms<S: MetadataStore> {
    pub(crate) store: S,
    pub(crate) settings: Settings,
    /// Where whoever leads is reached.
    pub(crate) leader: watch::Sender<Option<String>>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) stop: oneshot::Receiver<()>,
}

enum Stopped {
    AsTold,
    Needing(LeaderError),
}

impl<S: MetadataStore> Terms<S> {
    /// Runs terms until told to stop, the given one first. An error needs a person.
    pub(crate) async fn run(mut self, first: Option<Leading<S::Term>>) -> Result<(), LeaderError> {
        let mut next = first;
        loop {
            let leading = match next.take() {
                Some(leading) => leading,
                None => match self.until_leading().await {
                    Ok(leading) => leading,
                    Err(Stopped::AsTold) => return Ok(()),
                    Err(Stopped::Needing(error)) => return Err(error),
                },
            };
            let term = Leader::new(leading);
            let end = term.run(&mut self.commands, &mut self.stop).await;
            // Not this one any more, and nobody has said yet who does.
            self.leader.send_replace(None);
            match end {
                TermEnd::Stopped => return Ok(()),
                TermEnd::Over => {
                    tracing::warn!("another meta server may lead now; competing again");
                }
                TermEnd::Failed(error) => tracing::error!(
                    "a write to the metadata store failed, beginning a new term: {error}"
                ),
            }
        }
    }

    async fn until_leading(&mut self) -> Result<Leading<S::Term>, Stopped> {
        loop {
            let leading = lead(&self.store, &self.settings, &self.leader);
            match refusing(leading, &mut self.commands, &mut self.stop).await {
                None => return Err(Stopped::AsTold),
                Some(Ok(leading)) => return Ok(leading),
                Some(Err(error)) if error.passes() => tracing::error!("cannot lead: {error}"),
                Some(Err(error)) => return Err(Stopped::Needing(error)),
            }
            let pause = tokio::time::sleep(LEAD_AGAIN);
            if refusing(pause, &mut self.commands, &mut self.stop)
                .await
                .is_none()
            {
                return Err(Stopped::AsTold);
            }
        }
    }
}

/// Waits for something while this meta server does not lead; `None`: told to stop.
async fn refusing<T>(
    wanted: impl Future<Output = T>,
    commands: &mut mpsc::Receiver<Command>,
    stop: &mut oneshot::Receiver<()>,
) -> Option<T> {
    tokio::pin!(wanted);
    loop {
        tokio::select! {
            come = &mut wanted => return Some(come),
            _ = &mut *stop => return None,
            // Dropped: its reply tells the asker to go to the leader, or to come again.
            command = commands.recv() => drop(command?),
        }
    }
}

/// Gives a term's right up, if the store can be told in time.
pub(super) async fn resign(term: impl Term) {
    if tokio::time::timeout(RESIGNATION, term.resign())
        .await
        .is_err()
    {
        tracing::warn!("the metadata store does not answer; the right to lead runs out by itself");
    }
}
