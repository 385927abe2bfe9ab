//! The protocol between host and guest: files for the job and its result.
//!
//! A run has a folder of its own on the host, which the guest sees under the same path and may
//! write to: `job.json` goes in, `stdout`, `stderr` and `status` come out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error};
use crate::machine::Sharing;

/// One command to run in a guest.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct GuestJob {
    /// The program, looked up on the guest's `PATH`, and its arguments.
    pub command: Vec<OsString>,
    /// Variables beside `PATH`, `HOME` and `LANG`, which the guest sets when they are absent here.
    pub env: BTreeMap<String, String>,
    /// The working directory, a path of the host.
    pub cwd: PathBuf,
    /// Modules to load beforehand; what the kernel lacks is an error.
    pub modules: Vec<String>,
    /// Folders of the host that the guest may write to. All other writes stay in its memory.
    pub writable: Vec<PathBuf>,
}

impl GuestJob {
    /// The modules that IPVS and the test networks need: IPVS with every scheduler of Linux 6.1 and
    /// the SIP engine, and the kinds of links.
    ///
    /// Loading them takes about 0.4 s of a guest's start.
    pub const MODULES: &[&str] = &[
        "ip_vs",
        "ip_vs_rr",
        "ip_vs_wrr",
        "ip_vs_lc",
        "ip_vs_wlc",
        "ip_vs_lblc",
        "ip_vs_lblcr",
        "ip_vs_dh",
        "ip_vs_sh",
        "ip_vs_mh",
        "ip_vs_sed",
        "ip_vs_nq",
        "ip_vs_fo",
        "ip_vs_ovf",
        "ip_vs_pe_sip",
        "dummy",
        "veth",
        "bridge",
        "ipip",
        "ip6_tunnel",
    ];

    /// A job with the default modules, an empty environment and nothing writable.
    pub fn new(command: impl IntoIterator<Item = impl Into<OsString>>, cwd: &Path) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            cwd: cwd.to_owned(),
            modules: Self::MODULES.iter().map(|name| (*name).to_owned()).collect(),
            writable: Vec::new(),
        }
    }
}

/// The content of `job.json`: the job and what the guest needs to know of the host.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct GuestCommand {
    pub(crate) job: GuestJob,
    /// The run's folder, on the host and in the guest.
    pub(crate) run: PathBuf,
    /// The kernel's modules (the folder that holds `modules.dep`).
    pub(crate) modules: PathBuf,
    /// A tree of packages that supplies what the host's own tree lacks.
    pub(crate) tools: Option<PathBuf>,
    pub(crate) sharing: Sharing,
    pub(crate) stdin: Stdin,
}

/// Where the command's standard input comes from.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Stdin {
    /// /dev/null.
    Null,
    /// The file `stdin` of the run's folder.
    File,
    /// A terminal, which then is standard output and error too.
    Terminal { rows: u16, columns: u16 },
}

/// The result in `status`. Its absence means that the guest died.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum GuestStatus {
    Exited(u8),
    Killed {
        signal: u8,
    },
    /// The guest could not be made ready or the command could not be started.
    Refused(String),
}

impl GuestCommand {
    pub(crate) const FILE: &str = "job.json";

    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read(path).on("read", path)?;
        serde_json::from_slice(&text).map_err(std::io::Error::from).on("understand", path)
    }

    pub(crate) fn write(&self) -> Result<PathBuf, Error> {
        let path = self.run.join(Self::FILE);
        let text = serde_json::to_vec(self).map_err(std::io::Error::from).on("encode", &path)?;
        std::fs::write(&path, text).on("write", &path)?;
        Ok(path)
    }
}

impl GuestStatus {
    pub(crate) const FILE: &str = "status";

    /// The result in a run's folder, if it is complete.
    pub(crate) fn read(run: &Path) -> Option<Self> {
        let text = std::fs::read(run.join(Self::FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(crate) fn write(&self, run: &Path) -> Result<(), Error> {
        let path = run.join(Self::FILE);
        let text = serde_json::to_vec(self).map_err(std::io::Error::from).on("encode", &path)?;
        std::fs::write(&path, text).on("write", &path)
    }
}
