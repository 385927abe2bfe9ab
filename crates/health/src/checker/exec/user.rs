//! The user as whom a program runs, by the host's file of users.

use std::fs;

use crate::outcome::Fault;
use crate::supervisor::Identity;

const USERS: &str = "/etc/passwd";

pub(crate) fn identity(name: &str) -> Result<Identity, Fault> {
    let text = fs::read_to_string(USERS)
        .map_err(|error| Fault::Setup { error: format!("{USERS}: {error}") })?;
    let identity = find(&text, name).ok_or_else(|| Fault::Setup {
        error: format!(
            "no user `{name}` in {USERS}: make it (`useradd --system {name}`), or name another"
        ),
    })?;
    if identity.user == 0 {
        let error = format!("`{name}` is root: programs of checks run as another user");
        return Err(Fault::Setup { error });
    }
    Ok(identity)
}

fn find(users: &str, name: &str) -> Option<Identity> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        // After the password.
        let mut fields = fields.skip(1).map(|it| it.parse().ok());
        Some(Identity { user: fields.next()??, group: fields.next()?? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbad\nchecks:x:997:996::/:/bin/false\n";
        assert_eq!(find(users, "checks"), Some(Identity { user: 997, group: 996 }));
        assert_eq!(find(users, "check"), None);
        assert_eq!(find(users, "bad"), None);
    }

    #[test]
    fn root_is_not_one_of_them() {
        assert!(matches!(identity("root"), Err(Fault::Setup { .. })));
        assert!(matches!(identity("no such user"), Err(Fault::Setup { .. })));
    }
}
