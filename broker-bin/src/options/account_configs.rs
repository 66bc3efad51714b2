//! Builds the core's accounts from options.

use std::collections::BTreeMap;

use broker_core::account::{AccountConfig, GLOBAL, Mapping};
use broker_core::limits;

use super::{AccountLimits, MapDestination, Options, OptionsError, shares};

/// Destinations of mappings by source, as in the configuration.
type Mappings = BTreeMap<String, Vec<MapDestination>>;

impl Options {
    /// Returns the accounts, and the account of users that have none if there are mappings for it.
    ///
    /// # Errors
    ///
    /// Returns the first mapping that is not valid, or the first export or import that cannot be in force.
    pub fn account_configs(&self) -> Result<Vec<AccountConfig>, OptionsError> {
        let all = self.unchecked_account_configs()?;
        shares::check(&all)?;
        Ok(all)
    }

    /// Likewise, without a check of what accounts share with each other.
    pub(super) fn unchecked_account_configs(&self) -> Result<Vec<AccountConfig>, OptionsError> {
        let mut all = Vec::with_capacity(self.accounts.len() + 1);
        if !self.mappings.is_empty() {
            all.push(mapped(AccountConfig::new(GLOBAL), &self.mappings, "mappings")?);
        }
        for (name, account) in &self.accounts {
            let config = account.config(name).with_limits(account.limits.build());
            if account.mappings.is_empty() {
                all.push(config);
                continue;
            }
            all.push(mapped(config, &account.mappings, &format!("accounts.{name}.mappings"))?);
        }
        shares::add(&mut all, &self.accounts)?;
        if let Some(domain) = self.streams_domain() {
            name_domain(&mut all, domain, self.system_account.as_deref());
        }
        Ok(all)
    }

    /// Returns the domain of the streams, if they have one.
    fn streams_domain(&self) -> Option<&str> {
        let jetstream = self.jetstream.as_ref().filter(|jetstream| jetstream.enabled)?;
        jetstream.domain.as_deref().filter(|domain| !domain.is_empty())
    }
}

/// Lets clients name the domain in requests to streams.
// NATS 2.14: jetstream.go enableAllJetStreamServiceImportsAndMappings.
fn name_domain(all: &mut Vec<AccountConfig>, domain: &str, system: Option<&str>) {
    if !all.iter().any(|account| &*account.name == GLOBAL) {
        all.push(AccountConfig::new(GLOBAL));
    }
    let system = system.unwrap_or("$SYS");
    for account in all.iter_mut().filter(|account| &*account.name != system) {
        if let Ok(mapping) = Mapping::to(&format!("$JS.{domain}.API.>"), "$JS.API.>") {
            account.mappings.push(mapping);
        }
    }
}

fn mapped(
    account: AccountConfig,
    mappings: &Mappings,
    path: &str,
) -> Result<AccountConfig, OptionsError> {
    mappings.iter().try_fold(account, |account, (source, destinations)| {
        mapping(source, destinations, &format!("{path}.{source}"))
            .map(|one| account.with_mapping(one))
    })
}

fn mapping(
    source: &str,
    destinations: &[MapDestination],
    path: &str,
) -> Result<Mapping, OptionsError> {
    let mut builder = Mapping::builder(source);
    for one in destinations {
        let destination = one.destination.as_deref().unwrap_or_default();
        let Some(weight) = one.percent() else {
            return Err(OptionsError::NoWeight {
                path: path.into(),
                destination: destination.into(),
            });
        };
        builder = match one.cluster.as_deref().filter(|cluster| !cluster.is_empty()) {
            None => builder.to(destination, weight),
            Some(cluster) => builder.to_in_cluster(cluster, destination, weight),
        };
    }
    builder.build().map_err(|error| {
        let mapping = match destinations {
            [MapDestination { destination: Some(only), .. }] => format!("{source:?} to {only:?}"),
            _ => format!("{source:?}"),
        };
        OptionsError::Mapping { path: path.into(), mapping, error }
    })
}

impl MapDestination {
    fn percent(&self) -> Option<u8> {
        let text = self.weight.as_deref()?;
        text.strip_suffix('%').unwrap_or(text).parse().ok()
    }
}

impl AccountLimits {
    fn build(&self) -> limits::AccountLimits {
        // NATS 2.14: -1 is no limit.
        let limit = |value: i64| usize::try_from(value).ok();
        limits::AccountLimits {
            max_connections: limit(self.max_connections),
            max_subscriptions: limit(self.max_subscriptions),
            max_payload_bytes: limit(self.max_payload),
            max_leaf_nodes: limit(self.max_leafnodes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Account;
    use super::*;

    fn destination(subject: &str, weight: &str, cluster: &str) -> MapDestination {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        MapDestination { destination: text(subject), weight: text(weight), cluster: text(cluster) }
    }

    fn of(source: &str, destinations: Vec<MapDestination>) -> Mappings {
        [(source.to_owned(), destinations)].into()
    }

    #[test]
    fn requests_to_streams_may_name_the_domain() {
        let mut options = Options::default();
        options.accounts.insert("A".into(), Account::default());
        let jetstream =
            super::super::JetStream { domain: Some("hub".into()), ..Default::default() };
        options.jetstream = Some(jetstream);
        let all = options.account_configs().unwrap();
        let mapping = Mapping::to("$JS.hub.API.>", "$JS.API.>").unwrap();
        let found: Vec<_> =
            all.iter().map(|account| (&*account.name, &*account.mappings)).collect();
        assert_eq!(found, [("A", &[mapping.clone()][..]), ("$G", &[mapping][..])]);
    }

    #[test]
    fn mappings_and_limits_are_those_of_the_account() {
        let limits = AccountLimits {
            max_connections: 3,
            max_subscriptions: 0,
            max_payload: -1,
            max_leafnodes: 7,
        };
        let mappings = of("a.*", vec![destination("b.$1", "40", ""), destination("c", "5%", "x")]);
        let account = Account { limits, mappings, ..Account::default() };
        let options = Options {
            accounts: [("A".to_owned(), account)].into(),
            mappings: of("foo", vec![destination("bar", "100", "")]),
            ..Options::default()
        };
        let [global, own] = &options.account_configs().unwrap()[..] else { panic!("two accounts") };
        assert_eq!((&*global.name, &*own.name), ("$G", "A"));
        assert_eq!(global.mappings, [Mapping::to("foo", "bar").unwrap()]);
        let expected = Mapping::builder("a.*").to("b.$1", 40).to_in_cluster("x", "c", 5).build();
        assert_eq!(own.mappings, [expected.unwrap()]);
        let limits = &own.limits;
        assert_eq!((limits.max_connections, limits.max_subscriptions), (Some(3), Some(0)));
        assert_eq!((limits.max_payload_bytes, limits.max_leaf_nodes), (None, Some(7)));
    }

    // NATS 2.14: the texts of the reference for the same files.
    #[test]
    fn mappings_that_cannot_work_are_refused() {
        for (mappings, path, text) in [
            (
                of("foo", vec![destination("bar", "", "")]),
                "mappings.foo",
                "Missing weight for mapping destination \"bar\"",
            ),
            (
                of("foo.*", vec![destination("bar.$2", "100", "")]),
                "mappings.foo.*",
                "Error adding mapping for \"foo.*\" to \"bar.$2\" : invalid mapping destination: \
                 wildcard index out of range in $2: [2]",
            ),
            (
                of("foo", vec![destination("x", "60", ""), destination("y", "41", "")]),
                "mappings.foo",
                "Error adding mapping for \"foo\" : total weight needs to be <= 100",
            ),
            (
                of("foo", vec![destination("x", "6", ""), destination("x", "4", "east")]),
                "mappings.foo",
                "Error adding mapping for \"foo\" : duplicate entry for \"x\"",
            ),
        ] {
            let options = Options { mappings, ..Options::default() };
            let refused = options.check().unwrap_err();
            assert_eq!((refused.path(), &*refused.to_string()), (path, text));
        }
    }
}
