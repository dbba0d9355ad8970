//! Hashes, which are also the SDK's (hash key, sort key).
//!
//! Reading order: `fields` (what is alive in a hash), `edit` (changing one and keeping its metadata true), then the commands:
//! `reads`, `writes`, `numbers`, `random`, `expiry` (TTLs of fields), `expiry_options`, `with_expiry` (HGETEX and its like); and
//! [`range`], ordered reads for the SDK. HSCAN stands with SCAN in [`crate::scan`].

pub(crate) mod edit;
pub(crate) mod expiry;
pub(crate) mod expiry_options;
pub(crate) mod fields;
pub(crate) mod numbers;
pub(crate) mod random;
pub mod range;
pub(crate) mod reads;
pub(crate) mod with_expiry;
pub(crate) mod writes;
