//! The file system that an emulated machine starts with: just enough to find the host's root.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error};

/// An archive with busybox, the modules and a script that loads them and changes to the host's
/// root.
pub(super) fn make(busybox: &Path, modules: &Path, needed: &[&str]) -> Result<Vec<u8>, Error> {
    let list = modules.join("modules.dep");
    let list = fs::read_to_string(&list).on("read", &list)?;
    let mut archive = Archive::default();
    for folder in ["bin", "m", "proc", "new"] {
        archive.add(folder, 0o040_755, &[]);
    }
    archive.add("bin/busybox", 0o100_755, &fs::read(busybox).on("read", busybox)?);
    let mut script = "#!/bin/busybox sh\n".to_owned();
    for (number, path) in load_order(&list, needed).into_iter().enumerate() {
        let path = modules.join(path);
        archive.add(&format!("m/{number}"), 0o100_644, &fs::read(&path).on("read", &path)?);
        script += &format!("/bin/busybox insmod /m/{number}\n");
    }
    // The guest need not see what the host changes in its files meanwhile.
    let options = "ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144";
    script += &format!(
        "/bin/busybox mount -t 9p -o {options} root /new\n\
         exec /bin/busybox switch_root /new \"$@\"\n"
    );
    archive.add("init", 0o100_755, script.as_bytes());
    Ok(archive.end())
}

/// The files of the modules and of all that they need, each after what it needs itself.
fn load_order(list: &str, needed: &[&str]) -> Vec<PathBuf> {
    let mut order: Vec<PathBuf> = Vec::new();
    for name in needed {
        // Some kernels have them compressed, which busybox recognises by the content.
        let [plain, xz] = ["ko", "ko.xz"].map(|suffix| format!("/{name}.{suffix}"));
        let is_it = |path: &str| path.ends_with(&plain) || path.ends_with(&xz);
        // What is not listed is built in. "a.ko: b.ko c.ko", where b may need c.
        let line = list.lines().filter_map(|line| line.split_once(':'));
        let Some((path, needs)) = line.into_iter().find(|(path, _)| is_it(path)) else {
            continue;
        };
        for path in needs.split_whitespace().rev().chain([path]).map(PathBuf::from) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    order
}

/// A cpio archive as the kernel unpacks it
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    files: usize,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.files += 1;
        let numbers = [
            self.files,     // inode
            mode as usize,  // kind and permissions
            0,              // owner
            0,              // group
            1,              // links
            0,              // time
            content.len(),  // length
            0,              // device, major
            0,              // device, minor
            0,              // of which it is the node, major
            0,              // of which it is the node, minor
            name.len() + 1, // length of the name
            0,              // sum, unused
        ];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_after_what_they_need() {
        let list = "k/9p.ko: k/9pnet.ko k/netfs.ko k/fscache.ko\nk/netfs.ko: k/fscache.ko\n\
                    k/fscache.ko:\nk/9pnet.ko:\nk/9pnet_virtio.ko: k/9pnet.ko k/virtio.ko\n\
                    k/virtio.ko:\n";
        let order = load_order(list, &["9pnet_virtio", "9p", "built_in"]);
        let expected = ["virtio", "9pnet", "9pnet_virtio", "fscache", "netfs", "9p"];
        let expected: Vec<PathBuf> =
            expected.iter().map(|name| PathBuf::from(format!("k/{name}.ko"))).collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn compressed_modules_are_found() {
        let list = "k/9p.ko.xz: k/9pnet.ko.xz\nk/9pnet.ko.xz:\n";
        let expected = ["k/9pnet.ko.xz", "k/9p.ko.xz"].map(PathBuf::from);
        assert_eq!(load_order(list, &["9p"]), expected);
    }

    #[test]
    fn an_archive_holds_names_and_contents_at_multiples_of_four() {
        let mut archive = Archive::default();
        archive.add("a", 0o100_644, b"xyz");
        let bytes = archive.end();
        // A head of 110 bytes, the name with its end, and the content.
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[54..62], b"00000003");
        assert_eq!(&bytes[110..116], b"a\0xyz\0");
        assert_eq!(&bytes[116..122], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
