//! Lists the kernel modules that are loaded or built in. The IPVS client loads modules.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};

use crate::error::Error;

/// The modules whose names begin with `prefix`, loaded or built in.
///
/// # Errors
/// [`Error::Read`] if `/proc` is not there.
pub fn modules(prefix: &str) -> Result<BTreeSet<String>, Error> {
    let path = "/proc/modules";
    let loaded = match list(path) {
        Ok(text) => text,
        // A kernel without modules has no list of them.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(Error::Read { path: path.into(), source }),
    };
    let names = loaded.lines().filter_map(|line| line.split(' ').next());
    let mut found: BTreeSet<String> =
        names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect();
    // Without the list, as in most containers, built-in modules are unknown.
    let release = rustix::system::uname();
    let built_in = format!("/lib/modules/{}/modules.builtin", release.release().to_string_lossy());
    let built_in = fs::read_to_string(built_in).unwrap_or_default();
    let names = built_in.lines().filter_map(|line| line.rsplit('/').next()?.split('.').next());
    let names = names.map(|name| name.replace('-', "_"));
    found.extend(names.filter(|name| name.starts_with(prefix)));
    Ok(found)
}

/// Reads a file of `/proc`, whose size is unknown, into a buffer large enough for all of it: a growing buffer
/// would cost a system call each time it grows.
fn list(path: &str) -> io::Result<String> {
    const ROOM: usize = 16 << 10;
    let mut text = String::with_capacity(ROOM);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}
