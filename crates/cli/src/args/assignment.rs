//! Values of parameters on the command line.

use std::str::FromStr;

use evenkeel_spec::is_parameter_name;

/// `NAME=VALUE` of `--set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err("write NAME=VALUE".to_owned());
        };
        if !is_parameter_name(name) {
            return Err(format!("`{name}` cannot be the name of a parameter"));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_split_at_its_first_equals_sign() {
        let of = |text: &str| text.parse::<Assignment>().ok().map(|it| (it.name, it.value));
        assert_eq!(of("a=b=c"), Some(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(of("a="), Some(("a".to_owned(), String::new())));
        for wrong in ["a", "=b", "a-b=c", "env:A=b", "1=2"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
