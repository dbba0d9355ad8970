//! Digests: every member's logical state at one decree, compared while writes go on.
//!
//! The primary names a decree a little ahead, each member promises to take its digest when it commits exactly that decree, and empty
//! mutations bring the partition there if no writes do.

use crate::clock;
use crate::inbox::Input;
use crate::services::data::Unfailing;
use crate::services::inspect::partition;
use crate::worker::Worker;
use crate::worker::hosted::{DigestResult, DigestWanted, Hosted};
use engine::{Digest, Haste, Ticket};
use proto::peer::{DigestRequest, DigestResponse};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use types::{Decree, PartitionId};

/// Digests that one replica may be asked for at once, and how far ahead.
const MOST: usize = 16;
const FURTHEST: u64 = 100_000;

/// A digest is asked of this node's replica.
pub(crate) struct DigestAsked {
    pub(crate) partition: PartitionId,
    pub(crate) at: Decree,
    pub(crate) haste: Haste,
    /// Whether it could be promised.
    pub(crate) registered: oneshot::Sender<Result<(), String>>,
    pub(crate) answer: oneshot::Sender<DigestResult>,
}

/// What another node is answered: a promise, and then the digest.
pub(crate) type Answers = Unfailing<ReceiverStream<DigestResponse>>;

/// Answers another node, once it is known to be one.
pub(crate) async fn promise(
    request: DigestRequest,
    inbox: &mpsc::UnboundedSender<Input>,
) -> Result<Answers, Status> {
    let partition = partition(request.partition)?;
    let (registered, promised) = oneshot::channel();
    let (answer, answered) = oneshot::channel();
    let _ = inbox.send(Input::Digest(DigestAsked {
        partition,
        at: Decree(request.decree),
        haste: if request.paced {
            Haste::Paced
        } else {
            Haste::Now
        },
        registered,
        answer,
    }));
    promised
        .await
        .map_err(|_| Status::unavailable("the server is stopping"))?
        .map_err(Status::failed_precondition)?;
    let (responses, receiver) = mpsc::channel(2);
    // Room for both is there.
    let _ = responses.try_send(DigestResponse::default());
    tokio::spawn(async move {
        if let Ok(Ok(digest)) = answered.await {
            let digest = digest.to_be_bytes().to_vec().into();
            let _ = responses.send(DigestResponse { digest }).await;
        }
    });
    Ok(Unfailing(ReceiverStream::new(receiver)))
}

impl Worker {
    pub(crate) fn digest_asked(&self, asked: DigestAsked) {
        let Some(hosted) = self.find(asked.partition) else {
            let _ = asked.registered.send(Err(format!(
                "no replica of partition {} is here",
                asked.partition
            )));
            return;
        };
        let mut h = hosted.borrow_mut();
        if h.storage.committed() >= asked.at {
            let _ = asked.registered.send(Err("the decree has passed".into()));
            return;
        }
        h.digests.retain(|wanted| !wanted.answer.is_closed());
        if h.digests.len() >= MOST || asked.at.0 > h.storage.last().0 + FURTHEST {
            let _ = asked.registered.send(Err(
                "too many digests are asked for, or one too far ahead".into(),
            ));
            return;
        }
        h.digests.push(DigestWanted {
            at: asked.at,
            haste: asked.haste,
            ticket: None,
            answer: asked.answer,
        });
        let _ = asked.registered.send(Ok(()));
    }

    /// Called before the storage commits up to `up_to`: takes the digests wanted on the way.
    pub(crate) fn start_digests(h: &mut Hosted, up_to: Decree) {
        if h.digests.is_empty() {
            return;
        }
        let Hosted {
            digests, storage, ..
        } = h;
        let mut due: Vec<_> = digests
            .iter_mut()
            .filter(|wanted| wanted.ticket.is_none() && wanted.at <= up_to)
            .collect();
        due.sort_by_key(|wanted| wanted.at);
        for wanted in due {
            wanted.ticket = Some(storage.digest(wanted.at, wanted.haste));
            storage.commit(wanted.at);
        }
    }

    pub(crate) fn digest_ready(h: &mut Hosted, ticket: Ticket, digest: Result<Digest, String>) {
        if let Some(index) = h
            .digests
            .iter()
            .position(|wanted| wanted.ticket == Some(ticket))
        {
            let wanted = h.digests.swap_remove(index);
            let result = digest.and_then(|digest| {
                let fits = digest.decree == wanted.at;
                fits.then_some(digest.value)
                    .ok_or_else(|| format!("the digest is of decree {}", digest.decree))
            });
            let _ = wanted.answer.send(result);
        }
    }

    /// Brings a partition to a decree with empty mutations, one a call. Whether it is there, or why it cannot be brought there.
    pub(crate) fn advance(&self, partition: PartitionId, to: Decree) -> Result<bool, String> {
        let hosted = self.find(partition).ok_or("no replica is here")?;
        let mut out = Vec::new();
        let there = {
            let h = &mut *hosted.borrow_mut();
            if h.core.committed() >= to {
                true
            } else if !h.serves() {
                return Err("this node is not the partition's serving primary".into());
            } else {
                if !h.awaited && h.core.accepts_write().is_ok() && h.core.prepared() < to {
                    let decree = h.storage.last().next();
                    h.storage
                        .begin(h.core.ballot(), decree, self.wall.at(clock::now()));
                    h.awaited = true;
                    self.seal(h, &mut out);
                }
                h.core.committed() >= to
            }
        };
        self.deliver_all(out);
        Ok(there)
    }
}
