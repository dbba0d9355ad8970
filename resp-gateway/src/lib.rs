//! resp-gateway
