//! Lists the kernel modules that are loaded or built in. The IPVS client loads modules.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::OnceLock;

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
    let built_in = built_in();
    let names = built_in.lines().filter_map(|line| line.rsplit('/').next()?.split('.').next());
    let names = names.map(|name| name.replace('-', "_"));
    found.extend(names.filter(|name| name.starts_with(prefix)));
    Ok(found)
}

/// The modules that are loaded, built in, or installed for the running kernel, with underscores in their
/// names; `None` if the list of installed ones cannot be read, as in most containers.
///
/// # Errors
/// As [`modules`].
pub fn installed_modules() -> Result<Option<BTreeSet<String>>, Error> {
    let Ok(listed) = fs::read_to_string(list_of_kernel("modules.dep")) else { return Ok(None) };
    let mut found = modules("")?;
    // Each line is the path of a module, a colon, and what it depends on.
    let paths = listed.lines().filter_map(|line| line.split(':').next());
    let names = paths.filter_map(|path| path.rsplit('/').next()?.split('.').next());
    found.extend(names.map(|name| name.replace('-', "_")));
    Ok(Some(found))
}

/// Returns the path of a list of modules of the running kernel.
fn list_of_kernel(name: &str) -> String {
    let release = rustix::system::uname();
    format!("/lib/modules/{}/{name}", release.release().to_string_lossy())
}

/// Returns the list of built-in modules, which is that of the running kernel and read once; empty without
/// it, as in most containers: built-in modules are unknown there.
fn built_in() -> &'static str {
    static LIST: OnceLock<String> = OnceLock::new();
    if let Some(known) = LIST.get() {
        return known;
    }
    match fs::read_to_string(list_of_kernel("modules.builtin")) {
        Ok(text) => LIST.get_or_init(|| text),
        Err(_) => "",
    }
}

/// Reads a file of `/proc`, whose size is unknown, into a buffer large enough for all of it: a growing buffer
/// would cost a system call each time it grows.
fn list(path: &str) -> io::Result<String> {
    const ROOM: usize = 16 << 10;
    let mut text = String::with_capacity(ROOM);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}
