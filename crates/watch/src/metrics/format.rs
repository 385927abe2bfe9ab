//! The two formats of metrics: OpenMetrics for clients that accept it, as Prometheus does, and for all
//! others, such as `curl` and `promtool check metrics`, the older text format, which has the same
//! samples and less metadata.

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own text format, 0.0.4.
    Classic,
}

impl Format {
    /// Chooses the format for a request with this Accept header.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Classic,
        }
    }

    /// Returns the Content-Type header.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Returns what must follow the last metric of the text passed to [`Self::of`].
    pub(super) fn end(self) -> &'static str {
        match self {
            Self::OpenMetrics => "# EOF\n",
            Self::Classic => "",
        }
    }

    /// Converts the OpenMetrics text to this format.
    pub(super) fn of(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Classic => classic(&text),
        }
    }
}

/// Converts OpenMetrics, which names a family without the suffix of its samples and has a type `info`.
fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut help = "";
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            for line in ["# HELP ", name, suffix, " ", help, "\n# TYPE ", name, suffix, " ", kind] {
                out.push_str(line);
            }
            out.push('\n');
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_families_as_their_samples_and_has_no_units_and_no_end() {
        let open = "# HELP a_seconds How long.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{b=\"# TYPE\"} 1\n# HELP c What.\n# TYPE c info\nc_info{d=\"e\"} 1\n\
                    # HELP f g h.\n# TYPE f gauge\nf 2\n# EOF\n";
        let classic = "# HELP a_seconds_total How long.\n# TYPE a_seconds_total counter\n\
                       a_seconds_total{b=\"# TYPE\"} 1\n# HELP c_info What.\n# TYPE c_info gauge\n\
                       c_info{d=\"e\"} 1\n# HELP f g h.\n# TYPE f gauge\nf 2\n";
        assert_eq!(Format::Classic.of(open.to_owned()), classic);
        assert_eq!(Format::OpenMetrics.of(open.to_owned()), open);
    }

    #[test]
    fn openmetrics_is_chosen_if_it_is_accepted() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::accepted(Some("*/*")), Format::Classic);
        assert_eq!(Format::accepted(None), Format::Classic);
    }
}
