//! How a meta server that does not lead says so, and who does: a status, and the leader's address in its metadata.

use tonic::{Code, Status};

/// The metadata key. Its value is empty when no leader is known.
const LEADER: &str = "meta-leader";

/// The answer of a meta server that does not lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotLeading {
    /// `host:port` of the one that does, if that is known.
    pub leader: Option<String>,
}

impl NotLeading {
    /// Reads it from an answer; `None` if that says something else.
    pub fn from_status(status: &Status) -> Option<Self> {
        if status.code() != Code::Unavailable {
            return None;
        }
        let leader = status.metadata().get(LEADER)?.to_str().ok()?;
        Some(Self {
            leader: (!leader.is_empty()).then(|| leader.to_owned()),
        })
    }
}

impl From<NotLeading> for Status {
    fn from(NotLeading { leader }: NotLeading) -> Self {
        let mut status = Self::unavailable(match &leader {
            Some(leader) => format!("this meta server does not lead, {leader} does"),
            None => "this meta server does not lead, and knows nobody who does; ask again".into(),
        });
        if let Ok(leader) = leader.unwrap_or_default().parse() {
            status.metadata_mut().insert(LEADER, leader);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_lead_names_the_one_that_does() {
        for leader in [Some("meta-2:34601".to_owned()), None] {
            let said = NotLeading { leader };
            assert_eq!(NotLeading::from_status(&said.clone().into()), Some(said));
        }
        assert_eq!(
            NotLeading::from_status(&Status::unavailable("no connection")),
            None
        );
    }
}
