//! Sysctls of the kernel in memory, with the side effects of the real one.

use rustix::io::Errno;

use super::FakeKernel;

impl FakeKernel {
    pub(super) fn set_sysctl(&mut self, key: &str, value: &str) -> Result<(), Errno> {
        if self.read_only_sysctls.contains(key) {
            return Err(Errno::ROFS);
        }
        let sysctls = &mut self.live.sysctls;
        let found = sysctls.get_mut(key).ok_or(Errno::NOENT)?;
        let before = std::mem::replace(found, value.into());
        let family = match key {
            "net.ipv4.ip_forward" | "net.ipv4.conf.all.forwarding" => "net.ipv4.",
            "net.ipv6.conf.all.forwarding" => "net.ipv6.",
            _ => return Ok(()),
        };
        if *before == *value {
            return Ok(());
        }
        for (other, now) in sysctls.iter_mut().filter(|(other, _)| other.starts_with(family)) {
            if other.ends_with(".forwarding") || **other == *"net.ipv4.ip_forward" {
                *now = value.into();
            } else if **other == *"net.ipv4.conf.all.accept_redirects" {
                *now = if value == "0" { "1".into() } else { "0".into() };
            }
        }
        Ok(())
    }
}
