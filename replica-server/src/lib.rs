//! replica-server
