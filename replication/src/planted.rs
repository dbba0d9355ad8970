//! Mistakes that tests plant on purpose, to show that the simulator would find them: a rule left out, or half of one.
//!
//! Test-only. Without the feature `planted-bugs` the question whether one is planted is a constant *no*, and nothing of them is
//! in the program. With it, each thread may have one. The ones that are no mistakes of the core (a skipped fsync, a clock that
//! steps) are for the simulator's own shells, stores and clients to make.

#[cfg(feature = "planted-bugs")]
use std::cell::Cell;

macro_rules! bugs {
    ($($bug:ident $rule:literal $what:literal)*) => {
        /// What can be planted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug),*];

            /// The rule, or part of one, that is left out.
            pub fn rule(self) -> &'static str {
                match self { $(Self::$bug => $rule),* }
            }

            /// What is done instead.
            pub fn what(self) -> &'static str {
                match self { $(Self::$bug => $what),* }
            }
        }
    };
}

bugs! {
    TakesEarlyPrepares "L1" "a prepare that comes too early is appended and acknowledged"
    AppendsAgain "L1" "a prepare that comes twice is appended twice"
    RecordsCancel "L1" "a record cancels everything above its decree"

    AcknowledgesEarly "L2" "a truncate is acknowledged before its ballot is on disk"
    LeadsEarly "L2" "a primary acts before its own ballot is on disk"
    ObeysLowerBallots "L2" "prepares of lower ballots are taken"

    LeadsOn "L3" "a restarted primary leads on under the ballot on its disk"
    NeverProposesAgain "L3" "a restarted primary does not propose itself again"

    ForgetsPrepared "L4" "a restart drops what is prepared and not committed"
    ForgetsReady "L4" "a restart drops the ready mark"
    OfferCutsTwice "L4" "an offer to learn that comes twice starts a second learn"
    ResetKeepsTail "L4" "a reset record leaves what was above its base"

    ReadsWithoutLease "R1" "no lease is checked"
    ReadsOnOneLease "R1" "one lease of several is enough"
    LeaseBeforeEvaluation "R1" "the lease is checked before the evaluation, for several reads at once"
    LeaseUnderLaterBallot "R1" "the lease is checked under a later ballot than the evaluation"
    CountsAnyLife "R1" "a lease counts in another life of its grantor than the one that vouched"
    KeepsVouches "R1" "a vouch for one ballot counts under the next"

    ExceptsNothing "R2" "exceptions are not told to their holder"
    IgnoresExceptions "R2" "a holder ignores exceptions"
    ExceptsOnce "R2" "an exception is told once, not until it is acknowledged"
    ForgetsExceptions "R2" "exceptions end with the life of the holder they were told to"
    ExceptsOnePartition "R2" "an exception displaces one of another partition that was not acknowledged yet"
    HeedsOnePartition "R2" "a holder takes all exceptions of a reply to be of one partition"
    BarsAllPartitions "R2" "a holder takes an exception to be of all partitions"

    CommitsInGrace "R3" "a new primary commits before its grants have run out"
    ReadsInGrace "R3" "a new primary serves before its grants have run out"

    ForgetsGrants "R4" "a restarted node takes it that it granted nothing"

    SettlesUnacknowledged "R5" "an exception settles before it is acknowledged"
    SettlesAnyBallot "R5" "an acknowledged exception settles higher ballots too"

    HangsAndVouches "R6" "a node whose disk hangs vouches on"

    ExpiresByClock "R7" "a reply relies on an expiry that no committed mutation has reached"

    DropsRequestIds "ids" "a request that comes again is carried out again"

    ObeysOnlyStored "C1" "a proposal under way gates nothing"
    ObeysOnlyProposed "C1" "a proposal under way counts as stored"
    OldBallotSettles "C1" "hearing the old ballot again settles a proposal"
    ProposesAgain "C1" "a second proposal is made under one ballot"

    NeedsNoTruncate "C2" "members take prepares, and a new primary serves, without a truncate"
    CutsNothing "C2" "a member keeps what a new primary does not have"
    ServesBeforeList "C2" "a new primary serves before its list is committed"
    CutsOwnBallot "C2" "a truncate cuts records of its own ballot"
    ForgetsDuty "C2" "an unfinished duty does not pass on to the next ballot"

    PreparesNothingAgain "C3" "what is uncommitted is not prepared again under a new ballot"
    CountsAnyBallot "C3" "acknowledgements of any ballot count"

    AddsWithHole "C4" "a learner is added that lacks something committed"
    CountsAnyLearn "C4" "acknowledgements of an earlier learn count"
    TeachesEarly "C4" "learns start and end before the primary serves"
    TeachesMember "C4" "a member is taught"
    AddsWithoutMeta "C4" "an addition is proposed without the meta leader in reach"

    ReadyEarly "C5" "a learner is ready before its mark is on disk"
    ReadyByAnyLearn "C5" "the ready mark of an earlier learn counts"
    DeletesProposed "C5" "a copy is deleted that a proposal may name"
    MemberWithoutMark "C5" "a copy is a member without its ready mark"
    DamagedIsMember "C5" "a damaged copy stays a member"

    ProposesUnsynced "C6" "a proposal is sent before it and the prepares before it are synced"
    AcknowledgesUnsynced "C6" "unsynced prepares are acknowledged after proposing"
    IgnoresBoot "C6" "a copy whose machine lost unsynced prepares is a member"
    AnySurvivor "C6" "when all lost something, not the largest copy becomes the truth"
    KeepsOldEpoch "C6" "a copy of an older epoch is a learner's base"
    ChangesUnmarked "C6" "a copy becomes buffered without a mark of its boot"

    EchoesWithoutLease "stale reads" "a primary without leases says how fresh a secondary is"
    EchoOvertakes "stale reads" "a secondary is fresh before it has committed what the primary had"
    AgesFromReceipt "stale reads" "a copy's age counts from the answer, not from the asking"
    EchoOfAnyLife "stale reads" "a clock that was read in another life of the node counts"

    SkipsFsync "disk" "a flush is reported without one"
    IgnoresFailedFsync "disk" "a failed fsync is taken for one that worked"
    AcknowledgesBeforeFlush "disk" "a secondary acknowledges before its log has the record"
    CommitsBeforeFlush "disk" "a primary commits before its own log has the record"
    CommitsWithoutOne "prepare" "a primary commits without one of its secondaries"
    ClockSteps "time" "the lease's clock steps"
    LeaseOutlivesGrace "time" "a lease is longer than the grace"
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in this thread, or takes it out.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
#[cfg(feature = "planted-bugs")]
pub fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this bug is planted: never.
#[cfg(not(feature = "planted-bugs"))]
pub const fn planted(_: Bug) -> bool {
    false
}
