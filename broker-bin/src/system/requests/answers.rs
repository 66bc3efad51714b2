//! The answers to requests.

use broker_core::{ServerInfo, Subject, SubjectFilter, go_json};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{self, Form};
use super::options::{Invalid, RequestOptions};
use super::service::{AccountService, Service};
use super::user_info::UserInfo;
use crate::monitor::{
    AccountDetail, BadRequest, ConnState, ConnzOptions, Health, HealthError, HealthzOptions,
    JszOptions, Moment, Observer, RoutezOptions, SortBy, SubscriptionLists, SubszOptions,
};
use crate::system::sender::Sender;
use crate::system::statsz::Statsz;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// None: the request is not meant for this server, or has nothing to report.
    None,
    /// Never compressed.
    Plain(Vec<u8>),
    /// Compressed if the request asks for it.
    Encodable(Vec<u8>),
}

/// The answer of most services.
// NATS 2.14: events.go ServerAPIResponse.
#[derive(Serialize)]
struct Response<T> {
    server: ServerInfo,
    /// `Some(None)` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Option<T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ApiError>,
}

// NATS 2.14: jetstream_errors.go ApiError.
#[derive(Serialize)]
struct ApiError {
    code: u16,
    description: String,
}

/// The reason why a service has no data.
enum Failure {
    /// The options are invalid.
    Options(Invalid),
    /// The data cannot be had.
    Data(String),
    /// The request is for others.
    Silent,
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Options(invalid)
    }
}

impl From<BadRequest> for Failure {
    fn from(error: BadRequest) -> Self {
        Self::Data(error.to_string())
    }
}

const BAD_REQUEST: u16 = 400;
const INTERNAL_ERROR: u16 = 500;

/// Answers a request whose options are `payload`.
pub(super) fn answer(sender: &Sender, service: &Service, payload: &[u8]) -> Answer {
    let observer = sender.observer();
    let server = || observer.broker().server_info();
    let ask = Ask { sender, payload };
    match service {
        // NATS 2.14: events.go idzReq, which looks at no options.
        Service::Idz => {
            let ServerInfo { name, host, id, .. } = server();
            plain(&ServerId { name, host, id })
        }
        Service::Statsz => statsz(sender, payload),
        Service::Varz => ask.about(&fields::VARZ, |_| Ok(observer.varz())),
        Service::Subsz => ask.about(&fields::SUBSZ, |options| Ok(observer.subsz(&subsz(options))?)),
        Service::Connz => ask.about(&fields::CONNZ, |options| connz(sender, options, None)),
        Service::Routez => ask.about(&fields::ROUTEZ, |options| {
            let subscriptions = subscription_lists(options);
            Ok(observer.routez(&RoutezOptions { subscriptions }))
        }),
        Service::Gatewayz => ask.about(&fields::GATEWAYZ, |_| Ok(observer.gatewayz())),
        Service::Leafz => ask.about(&fields::LEAFZ, |_| Ok(observer.leafz())),
        Service::Accountz => ask.about(&fields::ACCOUNTZ, |options| {
            let account = options.text("account");
            Ok(observer.accountz(Some(&*account).filter(|name| !name.is_empty()))?)
        }),
        // A server that does not lead is silent.
        Service::Jsz => ask.about(&fields::JSZ, |options| {
            observer.jsz(&jsz(options)).map_err(|_| Failure::Silent)
        }),
        Service::Healthz => ask.about(&fields::HEALTHZ, |options| healthz(sender, options)),
        Service::Profilez => ask.about(&fields::PROFILEZ, |options| {
            let name = options.text("name");
            Ok(Profile { profile: None, error: profile_error(&name) })
        }),
        Service::Expvarz => ask.about(&fields::EXPVARZ, |_| Ok(Expvarz::default())),
        Service::Ipqueuesz => ask.about(&fields::IPQUEUESZ, |_| Ok(Map::<String, Value>::new())),
        Service::Raftz => ask.about(&fields::RAFTZ, |_| Ok(Map::<String, Value>::new())),
        Service::Kick => of_client(sender, payload, "kick", |cid| {
            let is_there = observer.broker().kick(cid);
            if is_there { Ok(()) } else { Err("no such client or leafnode id".to_owned()) }
        }),
        Service::LameDuck => of_client(sender, payload, "kick", |cid| {
            observer.broker().send_lame_duck_info(cid).map_err(|error| error.to_string())
        }),
        Service::Account(service, account) => of_account(&ask, *service, account),
        Service::AccountsStatz => ask.about(&fields::ACCOUNT_STATZ, |options| {
            accounts_statz(sender, options, &options.texts("accounts"))
        }),
        Service::Subscriptions => subscriptions(sender, payload),
        // Answered with the data of the requester.
        Service::Reload | Service::UserInfo | Service::DebugSubscribers => Answer::None,
    }
}

fn of_account(ask: &Ask<'_>, service: AccountService, account: &str) -> Answer {
    let (sender, observer) = (ask.sender, ask.sender.observer());
    match service {
        AccountService::Connz => {
            ask.about(&fields::CONNZ, |options| connz(sender, options, Some(account)))
        }
        AccountService::Subsz => ask.about(&fields::SUBSZ, |options| {
            let (subscriptions, account) = (true, account.to_owned());
            Ok(observer.subsz(&SubszOptions { subscriptions, account, ..subsz(options) })?)
        }),
        AccountService::Leafz => ask.about(&fields::LEAFZ, |_| Ok(observer.leafz())),
        AccountService::Jsz => {
            ask.about(&fields::JSZ, |options| account_jsz(observer, options, account))
        }
        AccountService::Info => ask.about(&fields::ACCOUNT_INFO, |_| {
            let details = observer.accountz(Some(account))?.account_detail;
            details.ok_or_else(|| Failure::Data(format!("Account {account} does not exist")))
        }),
        AccountService::Statz => ask.about(&fields::ACCOUNT_STATZ, |options| {
            accounts_statz(sender, options, &[account.to_owned()])
        }),
        // Answered by an event.
        AccountService::Conns => Answer::None,
    }
}

/// Answers that the request cannot be read.
pub(super) fn refused(sender: &Sender, why: &str) -> Answer {
    failed::<()>(sender, Failure::Options(Invalid(why.to_owned())))
}

pub(super) fn user_info(sender: &Sender, user: Option<UserInfo>) -> Answer {
    let server = sender.observer().broker().server_info();
    user.map_or(Answer::None, |user| {
        plain(&Response { server, data: Some(Some(user)), error: None })
    })
}

/// Returns the answer to a request for a reload, unless the configuration must be reloaded.
pub(super) fn must_reload(sender: &Sender, payload: &[u8]) -> Result<(), Answer> {
    let options = RequestOptions::read(&fields::SERVERS, payload);
    match options.map(|options| options.concerns(sender.observer())) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Answer::None),
        Err(invalid) => Err(failed::<()>(sender, Failure::Options(invalid))),
    }
}

/// Returns the answer after a reload.
pub(super) fn reloaded(sender: &Sender, result: Result<(), String>) -> Answer {
    done(sender, result)
}

/// Publishes the number of connections of an account as the answer, if it has some.
// NATS 2.14: events.go connsRequest.
pub(super) fn connections(sender: &Sender, account: &str, payload: &[u8], reply: &Subject) {
    let named = match RequestOptions::read(&fields::CONNECTIONS, payload).map(|one| one.text("acc"))
    {
        Ok(named) => named,
        Err(_) => {
            return tracing::error!("Error unmarshalling account connections request message");
        }
    };
    if !named.is_empty() && named != account {
        return tracing::error!("Error unmarshalled account does not match subject");
    }
    let accounts = sender.observer().broker().accounts();
    let found = accounts.iter().find(|one| *one.name == *account && one.connections > 0);
    if let Some(found) = found {
        sender.account_connections(&[reply.to_string()], found, found.connections);
    }
}

/// A request.
struct Ask<'a> {
    sender: &'a Sender,
    payload: &'a [u8],
}

impl Ask<'_> {
    /// Reads the options and looks up the data.
    // NATS 2.14: events.go zReq.
    fn about<T: Serialize>(
        &self,
        form: &Form,
        look: impl FnOnce(&RequestOptions) -> Result<T, Failure>,
    ) -> Answer {
        let Self { sender, payload } = *self;
        let data = RequestOptions::read(form, payload).map_err(Failure::from).and_then(|options| {
            match options.concerns(sender.observer()) {
                true => look(&options),
                false => Err(Failure::Silent),
            }
        });
        match data {
            Ok(data) => {
                let server = sender.observer().broker().server_info();
                encodable(&Response { server, data: Some(Some(data)), error: None })
            }
            Err(failure) => failed::<T>(sender, failure),
        }
    }
}

fn failed<T: Serialize>(sender: &Sender, failure: Failure) -> Answer {
    let (data, code, description) = match failure {
        Failure::Silent => return Answer::None,
        Failure::Options(Invalid(description)) => (None, BAD_REQUEST, description),
        Failure::Data(description) => (Some(None::<T>), INTERNAL_ERROR, description),
    };
    let server = sender.observer().broker().server_info();
    plain(&Response { server, data, error: Some(ApiError { code, description }) })
}

/// Returns the answer to a request for an action.
fn done(sender: &Sender, result: Result<(), String>) -> Answer {
    let server = sender.observer().broker().server_info();
    let error = result.err().map(|description| ApiError { code: INTERNAL_ERROR, description });
    encodable(&Response::<()> { server, data: None, error })
}

fn plain(value: &impl Serialize) -> Answer {
    go_json::compact(value).map_or(Answer::None, Answer::Plain)
}

fn encodable(value: &impl Serialize) -> Answer {
    go_json::compact(value).map_or(Answer::None, Answer::Encodable)
}

// NATS 2.14: events.go ServerID.
#[derive(Serialize)]
struct ServerId {
    name: String,
    host: String,
    id: String,
}

// NATS 2.14: events.go statszReq.
fn statsz(sender: &Sender, payload: &[u8]) -> Answer {
    let options = RequestOptions::read(&fields::STATSZ, payload);
    match options.map(|options| options.concerns(sender.observer())) {
        Ok(true) => plain(&Statsz::new(sender)),
        Ok(false) => Answer::None,
        Err(invalid) => failed::<()>(sender, Failure::Options(invalid)),
    }
}

fn at_least_0(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

fn subsz(options: &RequestOptions) -> SubszOptions {
    SubszOptions {
        subscriptions: options.switch("subscriptions"),
        offset: at_least_0(options.int("offset")),
        limit: at_least_0(options.int("limit")),
        account: options.text("account"),
        test: options.text("test"),
    }
}

/// The list of connections, or its form for an account that does not exist.
#[derive(Serialize)]
#[serde(untagged)]
enum Connections {
    Found(crate::monitor::Connz),
    NoAccount(NoAccount),
}

// NATS 2.14: monitor.go Connz, which returns early.
#[derive(Serialize)]
struct NoAccount {
    server_id: &'static str,
    now: Moment,
    num_connections: usize,
    total: usize,
    offset: usize,
    limit: usize,
    connections: Option<()>,
}

fn subscription_lists(options: &RequestOptions) -> SubscriptionLists {
    SubscriptionLists::of((options.switch("subscriptions"), options.switch("subscriptions_detail")))
}

fn connz(
    sender: &Sender,
    options: &RequestOptions,
    account: Option<&str>,
) -> Result<Connections, Failure> {
    let observer = sender.observer();
    let subscriptions = subscription_lists(options);
    let read = ConnzOptions {
        sort: SortBy::parse(&options.text("sort"))?,
        auth: options.switch("auth"),
        subscriptions,
        offset: at_least_0(options.int("offset")),
        limit: at_least_0(options.int("limit")),
        cid: Some(options.uint("cid")).filter(|cid| *cid > 0),
        state: match options.int("state") {
            1 => ConnState::Closed,
            2 => ConnState::All,
            _ => ConnState::Open,
        },
        user: options.text("user"),
        account: account.map_or_else(|| options.text("acc"), str::to_owned),
        mqtt_client: options.text("mqtt_client"),
        filter_subject: options.text("filter_subject"),
        search: String::new(),
    };
    let is_known = read.account.is_empty() || observer.broker().has_account(&read.account);
    let found = observer.connz(&read)?;
    if is_known {
        return Ok(Connections::Found(found));
    }
    let limit = found.limit;
    let (now, offset) = (found.now, found.offset);
    Ok(Connections::NoAccount(NoAccount {
        server_id: "",
        now,
        num_connections: 0,
        total: 0,
        offset,
        limit,
        connections: None,
    }))
}

fn jsz(options: &RequestOptions) -> JszOptions {
    JszOptions {
        account: options.text("account"),
        accounts: options.switch("accounts"),
        streams: options.switch("streams"),
        consumers: options.switch("consumer"),
        direct_consumers: options.switch("direct_consumer"),
        config: options.switch("config"),
        leader_only: options.switch("leader_only"),
        offset: options.int("offset"),
        limit: options.int("limit"),
        raft: options.switch("raft"),
    }
}

// NATS 2.14: monitor.go JszAccount. Consumers are reported with streams only.
fn account_jsz(
    observer: &Observer,
    options: &RequestOptions,
    account: &str,
) -> Result<AccountDetail, Failure> {
    let options = jsz(options);
    let options = JszOptions { consumers: options.streams && options.consumers, ..options };
    observer.jsz_account(account, &options).map_err(Failure::Data)
}

/// The health, in the reference's order.
// NATS 2.14: monitor.go HealthStatus.
#[derive(Serialize)]
struct HealthStatus {
    status: &'static str,
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<HealthError>,
}

fn healthz(sender: &Sender, options: &RequestOptions) -> Result<HealthStatus, Failure> {
    let enabled_only = options.switch("js-enabled") | options.switch("js-enabled-only");
    let read = HealthzOptions {
        account: options.text("account"),
        stream: options.text("stream"),
        consumer: options.text("consumer"),
        details: options.switch("details"),
        server_only: options.switch("js-server-only"),
        enabled_only,
    };
    let seen = sender.observer().healthz(&read);
    let status_code = match seen.health {
        Health::Ok => 200,
        Health::NotReady => INTERNAL_ERROR,
        Health::BadRequest => BAD_REQUEST,
        Health::NotFound => 404,
        Health::Unavailable => 503,
    };
    Ok(HealthStatus { status: seen.status, status_code, error: seen.error, errors: seen.errors })
}

// NATS 2.14: monitor.go ProfilezStatus.
#[derive(Serialize)]
struct Profile {
    profile: Option<()>,
    error: String,
}

fn profile_error(name: &str) -> String {
    if name.is_empty() {
        return "Profile name not specified".to_owned();
    }
    format!("Profile {} not found", broker_core::error::Quoted::from(name))
}

/// Variables of Go's runtime, which natsd has not. The command line may contain secrets.
// NATS 2.14: monitor.go ExpvarzStatus.
#[derive(Default, Serialize)]
struct Expvarz {
    memstats: Map<String, Value>,
    cmdline: Vec<String>,
}

/// The traffic of these accounts, of all if there are none.
// NATS 2.14: monitor.go AccountStatz.
fn accounts_statz(
    sender: &Sender,
    options: &RequestOptions,
    names: &[String],
) -> Result<crate::monitor::AccountStatz, Failure> {
    let unused = options.switch("include_unused");
    let mut found = sender.observer().accstatz(unused);
    found.account_statz.retain(|account| names.is_empty() || names.contains(&account.acc));
    if found.account_statz.is_empty() && !unused {
        return Err(Failure::Silent);
    }
    Ok(found)
}

/// Acts on one client. A request without the number of a client has no answer.
// NATS 2.14: events.go kickClient, ldmClient.
fn of_client(
    sender: &Sender,
    payload: &[u8],
    what: &str,
    act: impl FnOnce(u64) -> Result<(), String>,
) -> Answer {
    // An empty payload is no JSON.
    let empty = Invalid("unexpected end of JSON input".to_owned());
    let client = match payload {
        [] => Err(empty),
        payload => RequestOptions::read(&fields::CLIENT, payload),
    };
    let cid = match client {
        Ok(options) => options.uint("cid"),
        Err(Invalid(why)) => {
            tracing::error!("Error unmarshalling {what} client request: {why}");
            return Answer::None;
        }
    };
    match RequestOptions::read(&fields::SERVERS, payload) {
        Ok(options) if options.concerns(sender.observer()) => done(sender, act(cid)),
        Ok(_) => Answer::None,
        Err(invalid) => failed::<()>(sender, Failure::Options(invalid)),
    }
}

/// Counts the subscriptions of clients that would receive a message: a question of other servers.
// NATS 2.14: events.go nsubsRequest.
fn subscriptions(sender: &Sender, payload: &[u8]) -> Answer {
    let broker = sender.observer().broker();
    let Ok(options) = RequestOptions::read(&fields::SUBSCRIPTIONS, payload) else {
        tracing::error!("Error unmarshalling account nsubs request message");
        return Answer::None;
    };
    let [account, subject, queue] = ["acc", "subject", "queue"].map(|name| options.text(name));
    let has_members =
        broker.accounts().iter().any(|one| *one.name == *account && one.connections > 0);
    let Ok(filter) = SubjectFilter::parse(&subject) else { return Answer::None };
    if !has_members {
        return Answer::None;
    }
    let queue = from_base64(&queue);
    number(broker.count_subscribers(&account, &filter, queue.as_deref()))
}

pub(super) fn number(count: usize) -> Answer {
    Answer::Plain(count.to_string().into_bytes())
}

/// Decodes the name of a queue group, which Go writes in base64; `None` if there is none.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        alphabet.iter().position(|other| *other == byte)
    };
    let mut bits = 0_u32;
    let (mut count, mut bytes) = (0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::try_from(digit(byte)?).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_queue_groups_are_decoded() {
        assert_eq!(from_base64("d29ya2Vycw==").as_deref(), Some(&b"workers"[..]));
        assert_eq!(from_base64("YWJj").as_deref(), Some(&b"abc"[..]));
        assert_eq!(from_base64(""), None);
        assert_eq!(from_base64("?"), None);
    }
}
