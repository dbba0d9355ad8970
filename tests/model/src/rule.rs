//! What can be left out of the rules, each of it one place of a model that then behaves differently.
//!
//! The rules themselves are told in `docs/replication.md`.

/// One part of one rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Omission {
    L1Cancels,
    L1Gaps,
    L2Forgets,
    L2Lower,
    L3Leads,
    L4Cuts,
    L4Offer,
    C1Proposed,
    C1Stored,
    C1Changes,
    C2Serves,
    C2Acks,
    C2Lower,
    C2Duty,
    C3AnyBallot,
    C4Whole,
    C4Learn,
    C4Member,
    C5Configuration,
    C5Learn,
    C5Mark,
    C6Boot,
    C6Promise,
    C6Largest,
    C6Epoch,
}

impl Omission {
    /// The rule, and what happens instead.
    pub fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::L1Cancels => ("L1", "a re-prepared decree cancels those above it"),
            Self::L1Gaps => ("L1", "prepares are appended in any order"),
            Self::L2Forgets => ("L2", "a ballot is not put on disk"),
            Self::L2Lower => ("L2", "prepares of lower ballots are still taken"),
            Self::L3Leads => (
                "L3",
                "a restarted primary leads on under the ballot on its disk",
            ),
            Self::L4Cuts => ("L4", "a restart keeps only what is committed"),
            Self::L4Offer => ("L4", "an offer that comes twice starts the learn again"),
            Self::C1Proposed => ("C1", "only the stored configuration is obeyed"),
            Self::C1Stored => ("C1", "only the proposed configuration is obeyed"),
            Self::C1Changes => ("C1", "an unanswered proposal is given up"),
            Self::C2Serves => ("C2", "serves before its list is committed"),
            Self::C2Acks => ("C2", "serves before its truncates are acknowledged"),
            Self::C2Lower => ("C2", "a truncate cuts its own ballot's records too"),
            Self::C2Duty => ("C2", "an unfinished duty ends with its ballot"),
            Self::C3AnyBallot => ("C3", "acknowledgements of lower ballots count"),
            Self::C4Whole => ("C4", "a ready learner is proposed whatever it has by then"),
            Self::C4Learn => ("C4", "acknowledgements of an earlier learn count"),
            Self::C4Member => ("C4", "a node that was proposed is offered another learn"),
            Self::C5Configuration => ("C5", "who is named by the configuration is a member"),
            Self::C5Learn => ("C5", "a whole copy by another learn is a member"),
            Self::C5Mark => (
                "C5",
                "a learner is proposed before its ready mark is on disk",
            ),
            Self::C6Boot => ("C6", "a copy whose machine lost power stays a member"),
            Self::C6Promise => ("C6", "a proposer does not sync"),
            Self::C6Largest => ("C6", "any copy, not the largest, goes on alone"),
            Self::C6Epoch => ("C6", "a copy of an older epoch keeps what it committed"),
        }
    }
}
