//! Parameters: `${...}` in the values of a spec.
//!
//! Parameters occur in scalars, never in keys, and a value stays within its scalar: it cannot add
//! lists, maps, comments or further parameters to a spec. A scalar with a parameter is read as if
//! its text had been written without quotes, so it may be whatever is expected there: an address, a
//! number, `true`, a duration, a name. `$${` is a literal `${`; any other `$` stands for itself.

mod mask;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use evenkeel_model::{Cluster, Family, HostInputs, OwnerName};

use crate::problem::Problem;
use crate::source::MAX_SOURCE;
use crate::spanned::{Noted, Replaced, Tree};
use crate::suggest::quote;

/// A parameter that a spec may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter<'a> {
    /// `${NAME}`: a value passed along with the spec.
    Set(&'a str),
    /// `${env:NAME}`: a variable of the environment.
    Env(&'a str),
    /// `${host:INTERFACE}`: the interface's first address. With the suffix `/ipv4` or `/ipv6` it is
    /// the first of that family; without, an IPv4 address is preferred to an IPv6 one.
    Host {
        /// The interface's name.
        interface: &'a str,
        /// The family, if one is given.
        family: Option<Family>,
    },
}

impl fmt::Display for Parameter<'_> {
    /// Writes the text between the braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(name) => f.write_str(name),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Host { interface, family: None } => write!(f, "host:{interface}"),
            Self::Host { interface, family: Some(family) } => {
                write!(f, "host:{interface}/{family}")
            }
        }
    }
}

/// Provides the values of parameters. Each is requested once per [`crate::load_with`].
pub trait Parameters {
    /// The value of a parameter; `None` if it has none.
    ///
    /// # Errors
    /// Why the value cannot be determined, as text: `the variable is not UTF-8`.
    fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String>;

    /// The owner that the spec has to be of; `None` accepts any.
    fn expected_owner(&self) -> Option<OwnerName> {
        None
    }

    /// Whether the host may be no director of a spec that lists none.
    fn may_be_no_director(&self) -> bool {
        false
    }

    /// What the roles of the host depend on, for the cluster of the spec. It is asked only if the spec
    /// lists directors, or if the host may be no director without them.
    ///
    /// # Errors
    /// Why it cannot be determined, as text.
    fn host(&self, _cluster: &Cluster) -> Result<HostKnowledge, String> {
        Ok(HostKnowledge::AnyHost)
    }
}

/// What is known of the host that a spec is loaded for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKnowledge {
    /// The spec is loaded for no host in particular: it is resolved for a director with all VIPs.
    AnyHost,
    /// The host with these inputs.
    Host(HostInputs),
}

/// Provides no values.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoParameters;

impl Parameters for NoParameters {
    fn value(&self, _: Parameter<'_>) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// Recorded values of the parameters of a spec, by the text between their braces
/// ([`crate::Loaded::parameters`]): loading a text with them gives the same result again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RememberedParameters(pub BTreeMap<Box<str>, Box<str>>);

impl Parameters for RememberedParameters {
    fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
        Ok(self.0.get(&*parameter.to_string()).map(ToString::to_string))
    }

    fn may_be_no_director(&self) -> bool {
        self.0.contains_key(HOST_INPUTS)
    }

    fn host(&self, _: &Cluster) -> Result<HostKnowledge, String> {
        let Some(text) = self.0.get(HOST_INPUTS) else { return Ok(HostKnowledge::AnyHost) };
        let inputs = text.parse().map_err(|_| format!("`{text}` does not describe a host"))?;
        Ok(HostKnowledge::Host(inputs))
    }
}

/// The name under which the values of parameters hold what the roles of the host depend on. No spec can
/// have a parameter of that name.
pub const HOST_INPUTS: &str = "this host";

/// The delimiters of a parameter.
const OPEN: &str = "${";
const ESCAPED: &str = "$${";

/// Whether a text may contain a parameter; without one the fast parser is used.
pub(crate) fn may_stand_in(text: &str) -> bool {
    text.contains(OPEN)
}

/// Escapes a text so that no part of it is read as a parameter.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if may_stand_in(text) { text.replace(OPEN, ESCAPED).into() } else { text.into() }
}

/// The values of the parameters seen so far, by the text between their braces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Values(BTreeMap<Box<str>, Result<Box<str>, Wrong>>, Option<HostInputs>);

/// Why a parameter has no value, and how to correct that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wrong {
    message: String,
    remedy: String,
}

impl Values {
    /// The parameters that have a value.
    pub(crate) fn known(&self) -> BTreeMap<Box<str>, Box<str>> {
        let known = self.0.iter().filter_map(|(name, value)| {
            let value = value.as_ref().ok()?;
            Some((name.clone(), value.clone()))
        });
        let host = self.1.as_ref().map(|inputs| (HOST_INPUTS.into(), inputs.to_string().into()));
        known.chain(host).collect()
    }

    /// Records what the roles of the host were determined from.
    pub(crate) fn set_host(&mut self, inputs: HostInputs) {
        self.1 = Some(inputs);
    }

    /// What the roles of the host were determined from; `None` if it was not needed.
    pub(crate) fn host(&self) -> Option<&HostInputs> {
        self.1.as_ref()
    }

    /// Masks the values of environment variables in problems.
    pub(crate) fn mask(&self, problems: &mut [Problem]) {
        let of_environment = self.0.iter().filter_map(|(name, value)| {
            let is_env = matches!(parse(name), Some(Parameter::Env(_)));
            Some((&**name, value.as_deref().ok().filter(|_| is_env)?))
        });
        let values: BTreeMap<&str, &str> = of_environment.collect();
        if !values.is_empty() {
            problems.iter_mut().for_each(|problem| mask::mask(problem, &values));
        }
    }

    /// Replaces parameters by their values; reports those that have none.
    pub(crate) fn expand(
        &mut self,
        tree: &mut Tree<'_>,
        parameters: &dyn Parameters,
    ) -> Vec<Noted> {
        let mut noted = Vec::new();
        let mut bytes = 0;
        tree.replace_values(|node, written| {
            if !may_stand_in(written) {
                return Replaced::Not;
            }
            if bytes > MAX_SOURCE {
                return Replaced::Unreadable;
            }
            let expanded = self.expanded(written, MAX_SOURCE - bytes, parameters);
            bytes += expanded.as_ref().map_or(0, |(text, _)| text.len());
            match expanded {
                Ok(_) if bytes > MAX_SOURCE => {
                    let message =
                        format!("the parameters up to here amount to more than {MAX_SOURCE} bytes");
                    let remedy = Some("use shorter values".to_owned());
                    noted.push(Noted { node, message, remedy });
                    Replaced::Unreadable
                }
                Ok((text, has_parameter)) => Replaced::By { text, is_plain: has_parameter },
                Err(Wrong { message, remedy }) => {
                    noted.push(Noted { node, message, remedy: Some(remedy) });
                    Replaced::Unreadable
                }
            }
        });
        noted
    }

    /// The text with values in place of parameters, and whether it had any parameter. It is cut off
    /// after `most` bytes.
    fn expanded(
        &mut self,
        written: &str,
        most: usize,
        parameters: &dyn Parameters,
    ) -> Result<(String, bool), Wrong> {
        let (mut text, mut rest, mut has_parameter) = (String::new(), written, false);
        while let Some(at) = rest.find(OPEN) {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                text.push_str(before);
                text.push_str(OPEN);
                rest = &from[OPEN.len()..];
                continue;
            }
            text.push_str(before);
            let inner = &from[OPEN.len()..];
            let Some((name, behind)) = inner.split_once('}') else {
                return Err(Wrong {
                    message: format!("the parameter {} is not closed", quote(from)),
                    remedy: "write a `}` after its name, or `$${` for a literal `${`".to_owned(),
                });
            };
            text.push_str(self.value(name, parameters)?);
            (rest, has_parameter) = (behind, true);
            if text.len() > most {
                break;
            }
        }
        text.push_str(rest);
        Ok((text, has_parameter))
    }

    fn value(&mut self, name: &str, parameters: &dyn Parameters) -> Result<&str, Wrong> {
        if !self.0.contains_key(name) {
            self.0.insert(name.into(), look_up(name, parameters));
        }
        match self.0.get(name) {
            Some(Ok(value)) => Ok(value),
            Some(Err(wrong)) => Err(wrong.clone()),
            None => Ok(""),
        }
    }
}

fn look_up(name: &str, parameters: &dyn Parameters) -> Result<Box<str>, Wrong> {
    let shown = quote(&format!("${{{name}}}"));
    let Some(parameter) = parse(name) else {
        return Err(Wrong {
            message: format!("{shown} is not a parameter"),
            remedy:
                "write `${NAME}`, `${env:NAME}` or `${host:INTERFACE}`, or `$${` for a literal `${`"
                    .to_owned(),
        });
    };
    let (absent, remedy) = match parameter {
        Parameter::Set(name) => ("has no value", format!("pass `--set {name}=VALUE`")),
        Parameter::Env(name) => ("is not in the environment", format!("set the variable `{name}`")),
        Parameter::Host { interface, family: None } => (
            "has no value: there is no such interface, or it has no address",
            format!("check `ip address show dev {interface}`"),
        ),
        Parameter::Host { interface, family: Some(_) } => (
            "has no value: there is no such interface, or it has no address of that family",
            format!("check `ip address show dev {interface}`"),
        ),
    };
    match parameters.value(parameter) {
        Ok(Some(value)) => Ok(value.into()),
        Ok(None) => Err(Wrong { message: format!("{shown} {absent}"), remedy }),
        Err(why) => Err(Wrong { message: format!("{shown} cannot be resolved: {why}"), remedy }),
    }
}

/// Parses the text between the braces.
fn parse(name: &str) -> Option<Parameter<'_>> {
    let is_variable = |name: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(letter) && !name.as_bytes()[0].is_ascii_digit()
    };
    match name.split_once(':') {
        None => is_variable(name).then_some(Parameter::Set(name)),
        Some(("env", name)) => is_variable(name).then_some(Parameter::Env(name)),
        Some(("host", rest)) => {
            let (interface, family) = match rest.split_once('/') {
                None => (rest, None),
                Some((interface, "ipv4")) => (interface, Some(Family::Ipv4)),
                Some((interface, "ipv6")) => (interface, Some(Family::Ipv6)),
                Some(_) => return None,
            };
            let visible = |byte: u8| byte.is_ascii_graphic() && byte != b':';
            let is_interface =
                (1..=15).contains(&interface.len()) && interface.bytes().all(visible);
            is_interface.then_some(Parameter::Host { interface, family })
        }
        Some(_) => None,
    }
}

/// Whether `--set` accepts that name.
pub fn is_parameter_name(name: &str) -> bool {
    matches!(parse(name), Some(Parameter::Set(_)))
}

#[cfg(test)]
mod tests;
