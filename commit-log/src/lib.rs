//! commit-log
