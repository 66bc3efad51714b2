//! The services of the server, and their subjects.

/// A service of the server in the system account, or one of those that every account may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Service {
    Idz,
    Statsz,
    Varz,
    Subsz,
    Connz,
    Routez,
    Gatewayz,
    Leafz,
    Accountz,
    Jsz,
    Healthz,
    Profilez,
    Expvarz,
    Ipqueuesz,
    Raftz,
    Reload,
    Kick,
    LameDuck,
    /// About one account.
    Account(AccountService, String),
    /// Traffic of several accounts.
    AccountsStatz,
    Subscriptions,
    DebugSubscribers,
    UserInfo,
}

/// A service about one account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AccountService {
    Subsz,
    Connz,
    Leafz,
    Jsz,
    Info,
    Statz,
    Conns,
}

/// Services of all servers, and of each under its id.
// NATS 2.14: events.go initEventTracking.
const OF_SERVERS: [(&str, Service); 15] = [
    ("IDZ", Service::Idz),
    ("STATSZ", Service::Statsz),
    ("VARZ", Service::Varz),
    ("SUBSZ", Service::Subsz),
    ("CONNZ", Service::Connz),
    ("ROUTEZ", Service::Routez),
    ("GATEWAYZ", Service::Gatewayz),
    ("LEAFZ", Service::Leafz),
    ("ACCOUNTZ", Service::Accountz),
    ("JSZ", Service::Jsz),
    ("HEALTHZ", Service::Healthz),
    ("PROFILEZ", Service::Profilez),
    ("EXPVARZ", Service::Expvarz),
    ("IPQUEUESZ", Service::Ipqueuesz),
    ("RAFTZ", Service::Raftz),
];

/// Services of one server only.
const OF_ONE_SERVER: [(&str, Service); 3] =
    [("RELOAD", Service::Reload), ("KICK", Service::Kick), ("LDM", Service::LameDuck)];

const OF_ACCOUNTS: [(&str, AccountService); 7] = [
    ("SUBSZ", AccountService::Subsz),
    ("CONNZ", AccountService::Connz),
    ("LEAFZ", AccountService::Leafz),
    ("JSZ", AccountService::Jsz),
    ("INFO", AccountService::Info),
    ("STATZ", AccountService::Statz),
    ("CONNS", AccountService::Conns),
];

const SERVER: &str = "$SYS.REQ.SERVER.";
const ACCOUNT: &str = "$SYS.REQ.ACCOUNT.";
const PING: &str = "PING";
const SUBSCRIPTIONS: &str = "$SYS.REQ.ACCOUNT.NSUBS";
pub(super) const DEBUG_SUBSCRIBERS: &str = "$SYS.DEBUG.SUBSCRIBERS";
const USER_INFO: &str = "$SYS.REQ.USER.INFO";

impl Service {
    /// Returns the filters that a server subscribes to in the system account.
    pub(super) fn filters(server_id: &str) -> Vec<String> {
        let mut filters = vec![SUBSCRIPTIONS.to_owned(), format!("{SERVER}{PING}")];
        for (name, _) in &OF_SERVERS {
            filters.extend([PING, server_id].map(|of| format!("{SERVER}{of}.{name}")));
        }
        filters.extend(OF_ONE_SERVER.iter().map(|(name, _)| format!("{SERVER}{server_id}.{name}")));
        filters.extend(OF_ACCOUNTS.iter().map(|(name, _)| format!("{ACCOUNT}*.{name}")));
        filters
    }

    /// Returns the service that a subject in the system account asks for.
    pub(super) fn of(subject: &str) -> Option<Self> {
        match subject {
            SUBSCRIPTIONS => return Some(Self::Subscriptions),
            USER_INFO => return Some(Self::UserInfo),
            _ => {}
        }
        if let Some(rest) = subject.strip_prefix(SERVER) {
            let name = match rest.split_once('.') {
                Some((_, name)) => name,
                // The old form.
                None => return (rest == PING).then_some(Self::Statsz),
            };
            let all = OF_SERVERS.iter().chain(&OF_ONE_SERVER);
            return all
                .clone()
                .find(|(known, _)| *known == name)
                .map(|(_, service)| service.clone());
        }
        let (account, name) = subject.strip_prefix(ACCOUNT)?.rsplit_once('.')?;
        let (_, service) = OF_ACCOUNTS.iter().find(|(known, _)| *known == name)?;
        Some(match (service, account) {
            (AccountService::Statz, PING) => Self::AccountsStatz,
            _ => Self::Account(*service, account.to_owned()),
        })
    }

    /// Returns the service that a subject in another account asks for.
    // NATS 2.14: events.go registerSystemImports.
    pub(super) fn for_account(subject: &str, account: &str) -> Option<Self> {
        let of_account = |service| Some(Self::Account(service, account.to_owned()));
        match subject {
            USER_INFO => Some(Self::UserInfo),
            "$SYS.REQ.ACCOUNT.PING.CONNZ" | "$SYS.REQ.SERVER.PING.CONNZ" => {
                of_account(AccountService::Connz)
            }
            "$SYS.REQ.ACCOUNT.PING.STATZ" => of_account(AccountService::Statz),
            _ => None,
        }
    }

    /// Returns true if its answer takes little time whatever the number of connections.
    pub(super) fn is_quick(&self) -> bool {
        matches!(
            self,
            Self::Idz | Self::Statsz | Self::Healthz | Self::Reload | Self::Kick | Self::LameDuck
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_names_its_service() {
        for (subject, expected) in [
            ("$SYS.REQ.SERVER.PING", Some(Service::Statsz)),
            ("$SYS.REQ.SERVER.PING.STATSZ", Some(Service::Statsz)),
            ("$SYS.REQ.SERVER.ID.KICK", Some(Service::Kick)),
            ("$SYS.REQ.SERVER.PING.NOPE", None),
            ("$SYS.REQ.SERVER.OTHER", None),
            (
                "$SYS.REQ.ACCOUNT.A.CONNZ",
                Some(Service::Account(AccountService::Connz, "A".to_owned())),
            ),
            ("$SYS.REQ.ACCOUNT.PING.STATZ", Some(Service::AccountsStatz)),
            ("$SYS.REQ.ACCOUNT.NSUBS", Some(Service::Subscriptions)),
            ("$SYS.DEBUG.SUBSCRIBERS", None),
            ("other", None),
        ] {
            assert_eq!(Service::of(subject), expected, "{subject}");
        }
    }

    #[test]
    fn each_filter_leads_to_a_service() {
        let filters = Service::filters("ID");
        assert_eq!(filters.len(), 1 + 1 + 30 + 3 + 7);
        for filter in filters {
            assert!(Service::of(&filter.replace('*', "A")).is_some(), "{filter}");
        }
    }

    #[test]
    fn an_account_asks_about_itself_only() {
        let connz = Some(Service::Account(AccountService::Connz, "A".to_owned()));
        assert_eq!(Service::for_account("$SYS.REQ.SERVER.PING.CONNZ", "A"), connz);
        assert_eq!(Service::for_account("$SYS.REQ.ACCOUNT.B.CONNZ", "A"), None);
    }
}
