//! Which configuration answers for which server name.

use crate::event_loop::Error;
use rustls::ServerConfig;
use std::collections::HashMap;
use std::sync::Arc;

/// What a name was added with.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) config: Arc<ServerConfig>,
    pub(super) tag: u64,
}

/// Names and zones, in lower case.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<String, Named>,
    /// By what follows the `*.`, which stands for one label.
    zones: HashMap<String, Named>,
}

impl Names {
    /// Adds a name or `*.zone`, in place of what had this pattern before.
    pub(super) fn add(&mut self, pattern: &str, named: Named) -> Result<(), Error> {
        let pattern = pattern.to_ascii_lowercase();
        let zone = pattern.strip_prefix("*.");
        if !is_name(zone.unwrap_or(&pattern)) {
            let reason = format_args!("`{pattern}` is neither a host name in ASCII nor `*.` and one");
            return Err(Error::config("server_name", reason));
        }
        match zone {
            Some(zone) => self.zones.insert(zone.to_owned(), named),
            None => self.exact.insert(pattern, named),
        };
        Ok(())
    }

    /// Takes a pattern out; false if there was none.
    pub(super) fn remove(&mut self, pattern: &str) -> bool {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix("*.") {
            Some(zone) => self.zones.remove(zone),
            None => self.exact.remove(&pattern),
        }
        .is_some()
    }

    /// What answers for a name: the name itself before its zone.
    pub(super) fn find(&self, name: &str) -> Option<&Named> {
        let name = name.to_ascii_lowercase();
        self.exact.get(&name).or_else(|| self.zones.get(name.split_once('.')?.1))
    }
}

/// RFC 1123, 2.1, with the limits of RFC 1035, 2.3.4. The underscore occurs in practice.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::tls::testing::Authority;

    #[test]
    fn a_name_comes_before_its_zone_and_a_zone_is_one_label() {
        let config = Authority::new().server(&["localhost"]).server().unwrap();
        let named = |tag| Named { config: config.default_config(), tag };
        let mut names = Names::default();
        names.add("a.Example.org", named(1)).unwrap();
        names.add("*.example.org", named(2)).unwrap();
        names.add("*.org", named(3)).unwrap();
        let tag = |names: &Names, name: &str| names.find(name).map(|named| named.tag);
        let asked = ["a.example.org", "A.EXAMPLE.ORG", "b.example.org", "c.b.example.org", "example.org", "org", ""];
        assert_eq!(asked.map(|name| tag(&names, name)), [Some(1), Some(1), Some(2), None, Some(3), None, None]);
        assert!(names.remove("a.example.ORG") && !names.remove("a.example.org"));
        assert_eq!(tag(&names, "a.example.org"), Some(2));
        assert!(names.remove("*.Example.org"));
        assert_eq!(tag(&names, "a.example.org"), None);
    }

    #[test]
    fn a_pattern_is_a_name_or_one_star_and_a_name() {
        let config = Authority::new().server(&["localhost"]).server().unwrap();
        let long = "a".repeat(64);
        for pattern in ["", "*", "*.", "a..b", ".a", "a.", "*.*.a", "a.*", "b\u{fc}cher.example", "a b", long.as_str()]
        {
            let named = Named { config: config.default_config(), tag: 0 };
            let error = Names::default().add(pattern, named).unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{pattern}");
        }
    }
}
