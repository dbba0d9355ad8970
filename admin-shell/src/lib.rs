//! admin-shell
