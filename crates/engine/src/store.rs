//! Files: one durable way to replace one, and access to those below the state directory without
//! following symbolic links.

mod atomic_file;
mod directory;
mod envelope;
mod error;
mod overrides;
mod state_dir;

pub use atomic_file::FileUse;
pub(crate) use directory::RegularFile;
pub use directory::{DEFAULT_STATE_DIR, Directory};
pub(crate) use envelope::Envelope;
pub use envelope::hexadecimal;
pub use error::FileError;
pub use overrides::{NewOverride, StoredOverrides};
pub use state_dir::StateDir;
