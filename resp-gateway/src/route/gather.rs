//! Puts the replies of several partitions together into the one that the client expects.

use crate::codec::decode;
use crate::sink::{Answer, Sink};
use commands::Reply;
use commands::table::Gather;
use std::cell::RefCell;
use std::rc::Rc;

/// A reply that is being put together.
struct Gathering {
    gather: Gather,
    writes: bool,
    partitions: Vec<u32>,
    /// For each partition, which of the command's keys it got.
    places: Vec<Vec<usize>>,
    replies: Vec<Option<Reply>>,
    missing: usize,
    sink: Option<Sink>,
}

/// One sink for each of `partitions`, in their order; when all are answered, so is `sink`.
pub(super) fn gather(
    gather: Gather,
    writes: bool,
    partitions: &[u32],
    places: Vec<Vec<usize>>,
    sink: Sink,
) -> Vec<Sink> {
    let origin = sink.origin();
    let gathering = Rc::new(RefCell::new(Gathering {
        gather,
        writes,
        partitions: partitions.to_vec(),
        places,
        replies: partitions.iter().map(|_| None).collect(),
        missing: partitions.len(),
        sink: Some(sink),
    }));
    if partitions.is_empty() {
        finish(&gathering);
    }
    (0..partitions.len())
        .map(|part| {
            let gathering = Rc::clone(&gathering);
            Sink::of_part(origin.clone(), move |answer| {
                let complete = {
                    let mut gathering = gathering.borrow_mut();
                    gathering.replies[part] = Some(into_reply(answer));
                    gathering.missing -= 1;
                    gathering.missing == 0
                };
                if complete {
                    finish(&gathering);
                }
            })
        })
        .collect()
}

/// An answer as a value.
pub(super) fn into_reply(answer: Answer) -> Reply {
    match answer {
        Answer::Reply(reply) => reply,
        Answer::Encoded(resp3) => {
            decode(&resp3).unwrap_or_else(|malformed| Reply::error(format!("ERR {malformed}")))
        }
    }
}

fn finish(gathering: &RefCell<Gathering>) {
    let mut gathering = gathering.borrow_mut();
    let reply = gathering.merge();
    if let Some(sink) = gathering.sink.take() {
        drop(gathering);
        sink.reply(reply);
    }
}

impl Gathering {
    fn merge(&mut self) -> Reply {
        if let Some(reply) = self.failure() {
            return reply;
        }
        let replies = std::mem::take(&mut self.replies).into_iter().flatten();
        let merged = match self.gather {
            Gather::Sum => sum(replies),
            Gather::AllOk => replies
                .map(|reply| matches!(reply, Reply::Ok).then_some(()))
                .collect::<Option<()>>()
                .map(|()| Reply::Ok),
            Gather::Positions => in_places(replies, &self.places),
            Gather::Concatenate => concatenate(replies),
            // These ask one partition after the other.
            Gather::AnyOne | Gather::Cursor => None,
        };
        merged.unwrap_or_else(|| {
            Reply::error("ERR a partition answered with something else than was asked for")
        })
    }

    /// If some have failed: how many and, of the first, which and why, with its code in front.
    fn failure(&self) -> Option<Reply> {
        let mut errors = self.replies.iter().zip(&self.partitions).filter_map(
            |(reply, partition)| match reply {
                Some(Reply::Error(text)) => Some((*partition, text)),
                _ => None,
            },
        );
        let (partition, first) = errors.next()?;
        let (mut failed, mut alike) = (1, true);
        for (_, other) in errors {
            failed += 1;
            alike &= other == first;
        }
        if alike && failed == self.partitions.len() {
            return Some(Reply::Error(first.clone()));
        }
        let first = String::from_utf8_lossy(first);
        let (code, reason) = first.split_once(' ').unwrap_or(("ERR", &first));
        let others = match (failed == self.partitions.len(), self.writes) {
            (true, _) | (false, false) => "",
            (false, true) => "; it has taken effect on the others",
        };
        Some(Reply::error(format!(
            "{code} failed on {failed} of {} partitions{others}; partition {partition}: {reason}",
            self.partitions.len(),
        )))
    }
}

fn sum(replies: impl Iterator<Item = Reply>) -> Option<Reply> {
    let mut sum = 0i64;
    for reply in replies {
        let Reply::Integer(number) = reply else {
            return None;
        };
        sum = sum.saturating_add(number);
    }
    Some(Reply::Integer(sum))
}

fn concatenate(replies: impl Iterator<Item = Reply>) -> Option<Reply> {
    let mut all = Vec::new();
    for reply in replies {
        let Reply::Array(items) = reply else {
            return None;
        };
        all.extend(items);
    }
    Some(Reply::Array(all))
}

fn in_places(replies: impl Iterator<Item = Reply>, places: &[Vec<usize>]) -> Option<Reply> {
    let mut all = vec![Reply::Nil; places.iter().map(Vec::len).sum()];
    for (reply, places) in replies.zip(places) {
        let Reply::Array(items) = reply else {
            return None;
        };
        if items.len() != places.len() {
            return None;
        }
        for (item, &place) in items.into_iter().zip(places) {
            all[place] = item;
        }
    }
    Some(Reply::Array(all))
}
