//! What can be left out of the rules, each of it one place of a model that then behaves differently.
//!
//! The rules themselves are told in `docs/replication.md`.

macro_rules! omissions {
    ($($name:ident $rule:literal $told:literal)*) => {
        /// One part of one rule.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Omission {
            $(#[doc = $told] $name,)*
        }

        impl Omission {
            /// All of them, rule by rule.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The rule's letter and number.
            pub fn rule(self) -> &'static str {
                match self {
                    $(Self::$name => $rule,)*
                }
            }

            /// What happens instead.
            pub fn told(self) -> &'static str {
                match self {
                    $(Self::$name => $told,)*
                }
            }
        }
    };
}

omissions! {
    L1Cancels "L1" "a re-prepared decree cancels those above it"
    L1Gaps "L1" "prepares are appended in any order"
    L2Forgets "L2" "a ballot is not put on disk"
    L2Lower "L2" "prepares of lower ballots are still taken"
    L3Leads "L3" "a restarted primary leads on under the ballot on its disk"
    L4Cuts "L4" "a restart keeps only what is committed"
    L4Keeps "L4" "a reset record leaves the old records above its base"
    L4Behind "L4" "a checkpoint replaces more than it has"
    L4Counts "L4" "a checkpoint counts before it is in place"
    L4Discards "L4" "the old copy goes before the checkpoint is in place"
    L4Offer "L4" "an offer that comes twice starts the learn again"
    R1Lease "R1" "reads are answered without a lease"
    R1Life "R1" "a lease of another life of the node counts"
    R1Vouch "R1" "a vouch for one ballot counts under the next"
    R2None "R2" "no exceptions are made"
    R2Alone "R2" "grants travel without the exceptions to them"
    R2Expires "R2" "an acknowledged exception ends with the next grant"
    R3Waits "R3" "a new primary does not wait for the grace"
    R3Adds "R3" "members are added before the grace is over"
    R4Forgets "R4" "a restarted node does not wait for forgotten grants"
    R5Sent "R5" "an exception that was only sent settles the wait"
    R5Ballot "R5" "an acknowledgement counts for higher ballots too"
    R6Vouches "R6" "a node whose disk hangs vouches on"
    R7Commit "R7" "a reply that depends on an expiry waits for nothing"
    C1Proposed "C1" "only the stored configuration is obeyed"
    C1Stored "C1" "only the proposed configuration is obeyed"
    C1Changes "C1" "an unanswered proposal is given up"
    C2Serves "C2" "serves before its list is committed"
    C2Acks "C2" "serves before its truncates are acknowledged"
    C2Lower "C2" "a truncate cuts its own ballot's records too"
    C2Duty "C2" "an unfinished duty ends with its ballot"
    C3AnyBallot "C3" "acknowledgements of lower ballots count"
    C4Whole "C4" "a ready learner is proposed whatever it has by then"
    C4Gap "C4" "a learner's highest decree counts, whatever is missing below"
    C4Learn "C4" "acknowledgements of an earlier learn count"
    C4Member "C4" "a node that was proposed is offered another learn"
    C5Configuration "C5" "who is named by the configuration is a member"
    C5Learn "C5" "a whole copy by another learn is a member"
    C5Mark "C5" "a learner is proposed before its ready mark is on disk"
    C5Hole "C5" "the ready mark is written over a hole"
    C5Restart "C5" "a restarted learner takes its log for whole and goes on"
    C6Boot "C6" "a copy whose machine lost power stays a member"
    C6Promise "C6" "a proposer does not sync"
    C6Largest "C6" "any copy, not the largest, goes on alone"
    C6Epoch "C6" "a copy of an older epoch keeps what it committed"
}
