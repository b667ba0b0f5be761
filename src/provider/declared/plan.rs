//! Compiles what configuration says of a sender into a plan, once, at the start. Everything that can be wrong with it is found here.
//! Must not read key files, nor know any sender.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::settings::{
    Algorithm, AnswerSettings, DeclaredSettings, HandshakeSettings, IdentityRule, KeyEncoding, OccurredAtSettings,
    TimeFormat,
};
use super::signature_place::SignaturePlace;
use super::template::{Template, Variable};
use super::topic_patterns::TopicPatterns;
use super::value_place::{JsonPointer, ValuePlace};
use crate::provider::webhook::SignedParts;
use crate::provider::{ConfigureError, SuccessAnswer};

/// A week: with more, a signed time would not bound replays. Some senders try for days, and may keep the first attempt's time.
const TOLERANCE_S_MAX: u64 = 604_800;

/// How a sender's webhooks are proven and understood.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the signature is made.
    pub algorithm: Algorithm,
    /// How a secret stands in its file.
    pub key_encoding: KeyEncoding,
    /// Where the signature stands.
    pub signature: SignaturePlace,
    /// What is signed: any may match. None where nothing is.
    pub templates: Vec<(Template, Arc<SignedParts>)>,
    /// The address that the sender has of this source.
    pub url: String,
    /// The header in which the sender names its key.
    pub key_id_header: Option<HeaderName>,
    /// The signed time.
    pub time: Option<TimeRule>,
    /// What the bodies say.
    pub event: EventRules,
    /// The topics.
    pub topics: TopicPatterns,
    /// What is answered when all is well.
    pub answer: Option<Arc<SuccessAnswer>>,
    /// How it is asked whether this is the right address.
    pub handshake: Option<HandshakeRule>,
}

/// The signed time.
#[derive(Clone, Debug)]
pub struct TimeRule {
    /// Where it stands.
    pub place: ValuePlace,
    /// How it is written.
    pub format: TimeFormat,
    /// How far it may be from now.
    pub tolerance: Duration,
}

/// What the bodies say.
#[derive(Clone, Debug)]
pub struct EventRules {
    /// Where the id stands.
    pub id: Vec<ValuePlace>,
    /// Where the type stands.
    pub kind: Vec<ValuePlace>,
    /// Where the key stands.
    pub key: Vec<ValuePlace>,
    /// Where the time stands, and how it is written: the first that can be read.
    pub occurred_at: Vec<(Vec<ValuePlace>, TimeFormat)>,
    /// What a body must have, as a word.
    pub require: Vec<(JsonPointer, String)>,
    /// Where the list of events stands.
    pub each: Option<JsonPointer>,
    /// What makes two webhooks one event.
    pub identity: IdentityRule,
}

/// A webhook that only asks for an answer.
#[derive(Clone, Debug)]
pub struct HandshakeRule {
    /// The field by which it is known, and its value.
    pub when: (JsonPointer, String),
    /// The field that is sent back.
    pub echo: JsonPointer,
    /// The name of the echoed value's HMAC.
    pub hmac_as: Option<String>,
}

fn wrong(key: impl Into<String>, problem: impl Into<String>) -> ConfigureError {
    ConfigureError::Value { key: key.into().into(), problem: problem.into() }
}

impl Plan {
    /// Compiles the settings.
    ///
    /// # Errors
    /// Which key cannot be used, and why.
    pub fn compile(settings: &DeclaredSettings) -> Result<Self, ConfigureError> {
        let signature = SignaturePlace::new(&settings.signature).map_err(|(key, problem)| wrong(key, problem))?;
        let time = time(settings, &signature)?;
        let templates = templates(settings)?;
        let event = event(settings)?;
        let header = |text: &str| match ValuePlace::parse(text) {
            Ok(ValuePlace::Header(name)) => Ok(name),
            Ok(_) | Err(_) => Err(wrong("signature.key_id_from", "names no header: write it as \"header:NAME\"")),
        };
        let key_id_from = Some(settings.signature.key_id_from.as_str()).filter(|text| !text.is_empty());
        let type_place_signed =
            |template: &Template| event.kind.iter().all(|place| covers(template, place, event.each.as_ref()));
        let covered = |template: Template| {
            let signed_parts = SignedParts {
                template: template.as_str().to_owned(),
                body_signed: template.names(&Variable::Body),
                type_signed: type_place_signed(&template),
            };
            (template, Arc::new(signed_parts))
        };
        let plan = Self {
            algorithm: settings.signature.algorithm,
            key_encoding: settings.signature.key,
            key_id_header: key_id_from.map(header).transpose()?,
            templates: templates.into_iter().map(covered).collect(),
            url: settings.signature.url.clone(),
            topics: TopicPatterns::new(&settings.topics).map_err(|(key, problem)| wrong(key, problem))?,
            answer: answer(&settings.answer)?,
            handshake: settings.answer.handshake.as_ref().map(handshake).transpose()?,
            signature,
            time,
            event,
        };
        plan.checked(settings)
    }

    /// What no key alone tells.
    fn checked(self, settings: &DeclaredSettings) -> Result<Self, ConfigureError> {
        let (needed, other, noun) = if self.algorithm.is_symmetric() {
            (&settings.secret_files, &settings.public_key_files, ("secret_files", "public_key_files", "shared secret"))
        } else {
            (
                &settings.public_key_files,
                &settings.secret_files,
                ("public_key_files", "secret_files", "sender's public key"),
            )
        };
        if needed.is_empty() {
            return Err(wrong(noun.0, format!("is empty: name at least one file with the {}", noun.2)));
        }
        if !other.is_empty() {
            return Err(wrong(noun.1, format!("does not belong to this algorithm: use {}", noun.0)));
        }
        if self.time.as_ref().is_some_and(|time| !self.signs(&time.place)) {
            let problem = "is not signed, so that anybody could change it: put {t} into signature.signed, or remove the timestamp";
            return Err(wrong("timestamp.from", problem));
        }
        let names_time = |(template, _): &(Template, _)| template.names(&Variable::Time);
        if self.time.is_none() && self.templates.iter().any(names_time) {
            return Err(wrong(
                "signature.signed",
                "names {t}, and there is no timestamp: say where it stands in timestamp.from",
            ));
        }
        if self.event.identity == IdentityRule::Id
            && (self.event.id.is_empty() || !self.event.id.iter().all(|place| self.signs(place)))
        {
            let problem = "= \"id\" needs an id that is signed: name one in event.id, or use \"body\"";
            return Err(wrong("event.identity", problem));
        }
        if self.algorithm == Algorithm::Token && self.signature.place.headers().is_empty() {
            let problem = "has the token in the query, where logs of proxies keep it: give the source a path with a secret part instead";
            return Err(wrong("signature.from", problem));
        }
        if self.event.identity == IdentityRule::Id
            && self.event.id.iter().any(|place| matches!(place, ValuePlace::Joined(_)))
        {
            return Err(wrong(
                "event.id",
                "joins values, which two ids could share: name one place, or use event.identity = \"body\"",
            ));
        }
        if self.event.identity == IdentityRule::Latest && self.event.each.is_some() {
            return Err(wrong("event.identity", "= \"latest\" does not go with event.each: use \"body\" or \"id\""));
        }
        if self.handshake.as_ref().is_some_and(|handshake| handshake.hmac_as.is_some()) && !self.algorithm.is_mac() {
            return Err(wrong("answer.handshake.hmac_as", "needs an HMAC as signature.algorithm: remove it"));
        }
        Ok(self)
    }

    /// Whether a value at this place is signed, whichever template matches.
    pub fn signs(&self, place: &ValuePlace) -> bool {
        let is_time = self.time.as_ref().is_some_and(|time| time.place == *place);
        let signs = |template: &Template| {
            covers(template, place, self.event.each.as_ref()) || is_time && template.names(&Variable::Time)
        };
        !self.templates.is_empty() && self.templates.iter().all(|(template, _)| signs(template))
    }

    /// Whether the body is signed, whichever template matches.
    pub fn signs_body(&self) -> bool {
        self.signs(&ValuePlace::Pointer(JsonPointer::whole()))
    }

    /// The headers without which a webhook is not believed.
    pub fn authentication_headers(&self) -> Vec<HeaderName> {
        let variables = self.templates.iter().flat_map(|(template, _)| template.required());
        let of_templates = variables.filter_map(|variable| match variable {
            Variable::Header(name) => Some(name.clone()),
            _ => None,
        });
        let time = self.time.iter().map(|time| &time.place);
        let places = [&self.signature.place].into_iter().chain(time).flat_map(ValuePlace::headers);
        unique(places.chain(of_templates))
    }

    /// Every header that is read: those of authentication, and those that say what the event is. A token is the secret itself, which
    /// no record may have.
    pub fn evidence_headers(&self) -> Vec<HeaderName> {
        let optional = self.templates.iter().flat_map(|(template, _)| template.variables());
        let optional = optional.filter_map(|variable| match variable {
            Variable::Header(name) => Some(name.clone()),
            _ => None,
        });
        let authentication =
            self.authentication_headers().into_iter().chain(optional).chain(self.key_id_header.clone());
        let all = unique(authentication.chain(self.event_places().flat_map(ValuePlace::headers)));
        let token = if self.algorithm == Algorithm::Token { self.signature.place.headers() } else { Vec::new() };
        all.into_iter().filter(|name| !token.contains(name)).collect()
    }

    /// Whether the request's query is read.
    pub fn reads_query(&self) -> bool {
        let variables = self.templates.iter().flat_map(|(template, _)| template.variables());
        let signs_query = variables.into_iter().any(|variable| matches!(variable, Variable::Query(..)));
        let reads = |place: &ValuePlace| match place {
            ValuePlace::Query(_) => true,
            ValuePlace::Joined(places) => places.iter().any(|place| matches!(place, ValuePlace::Query(_))),
            ValuePlace::Header(_) | ValuePlace::Pointer(_) | ValuePlace::Entry(_) => false,
        };
        signs_query || reads(&self.signature.place) || self.event_places().any(reads)
    }

    fn event_places(&self) -> impl Iterator<Item = &ValuePlace> {
        let occurred = self.event.occurred_at.iter().flat_map(|(places, _)| places);
        [&self.event.id, &self.event.kind, &self.event.key].into_iter().flatten().chain(occurred)
    }
}

/// Whether a template signs what stands at a place.
fn covers(template: &Template, place: &ValuePlace, each: Option<&JsonPointer>) -> bool {
    if let ValuePlace::Joined(places) = place {
        return places.iter().all(|place| covers(template, place, each));
    }
    template.variables().any(|variable| match (variable, place) {
        (Variable::Body, ValuePlace::Pointer(_)) => true,
        (Variable::Header(signed), ValuePlace::Header(name)) => signed == name,
        (Variable::Query(signed, _), ValuePlace::Query(name)) => signed == name,
        // Pointers of an event then begin at its element, and those of a template at the body.
        (Variable::Text(signed), ValuePlace::Pointer(pointer)) => each.is_none() && signed == pointer,
        _ => false,
    })
}

fn unique(names: impl Iterator<Item = HeaderName>) -> Vec<HeaderName> {
    names.fold(Vec::new(), |mut all, name| {
        if !all.contains(&name) {
            all.push(name);
        }
        all
    })
}

fn templates(settings: &DeclaredSettings) -> Result<Vec<Template>, ConfigureError> {
    let signature = &settings.signature;
    let key = "signature.signed";
    if signature.algorithm == Algorithm::Token {
        if signature.key != KeyEncoding::Utf8 {
            return Err(wrong(
                "signature.key",
                "does not go with algorithm = \"token\", which is compared as it stands: remove it",
            ));
        }
        return match signature.signed.as_slice() {
            [] => Ok(Vec::new()),
            _ => Err(wrong(
                key,
                "does not go with algorithm = \"token\", which signs nothing: remove it, or over a preset write signed = []",
            )),
        };
    }
    if signature.signed.is_empty() {
        return Err(wrong(key, "is missing: write what is signed, such as \"{body}\""));
    }
    let parsed = signature.signed.iter().map(|text| Template::parse(text).map_err(|problem| wrong(key, problem)));
    let templates: Vec<Template> = parsed.collect::<Result<_, _>>()?;
    let names_url = templates.iter().any(|template| template.names(&Variable::Url));
    let has_url = signature.url.starts_with("https://") || signature.url.starts_with("http://");
    match (names_url, has_url) {
        (true, false) => Err(wrong(
            "signature.url",
            "must be the address that the sender has of this source: write it as \"https://…\", letter by letter as it is registered there",
        )),
        (false, true) => Err(wrong("signature.url", "is not used: put {url} into signature.signed, or remove it")),
        (true, true) | (false, false) => Ok(templates),
    }
}

fn time(settings: &DeclaredSettings, signature: &SignaturePlace) -> Result<Option<TimeRule>, ConfigureError> {
    let Some(time) = &settings.timestamp else { return Ok(None) };
    let place = ValuePlace::parse(&time.from).map_err(|problem| wrong("timestamp.from", problem))?;
    match &place {
        ValuePlace::Entry(_) if !signature.is_list() => {
            return Err(wrong(
                "timestamp.from",
                "names an entry of a list, and the signature is none: set signature.list",
            ));
        }
        ValuePlace::Query(_) | ValuePlace::Joined(_) => {
            return Err(wrong(
                "timestamp.from",
                "must be one place, and not in the query: write list:NAME, header:NAME or pointer:/PATH",
            ));
        }
        ValuePlace::Entry(_) | ValuePlace::Header(_) | ValuePlace::Pointer(_) => {}
    }
    match time.tolerance_s {
        1..=TOLERANCE_S_MAX => {
            Ok(Some(TimeRule { place, format: time.format, tolerance: Duration::from_secs(time.tolerance_s) }))
        }
        _ => Err(wrong("timestamp.tolerance_s", format!("must be from 1 to {TOLERANCE_S_MAX}: correct the number"))),
    }
}

fn event(settings: &DeclaredSettings) -> Result<EventRules, ConfigureError> {
    let event = &settings.event;
    let required = |(place, value): (&String, &super::settings::RequiredValue)| {
        Ok((pointer(place, &format!("event.require.{place}"))?, value.word()))
    };
    let occurred =
        |occurred: &OccurredAtSettings| Ok((places(&occurred.from, "event.occurred_at.from")?, occurred.format));
    Ok(EventRules {
        id: places(&event.id, "event.id")?,
        kind: places(&event.kind, "event.type")?,
        key: places(&event.key, "event.key")?,
        occurred_at: event.occurred_at.iter().map(occurred).collect::<Result<_, ConfigureError>>()?,
        require: event.require.iter().map(required).collect::<Result<_, ConfigureError>>()?,
        each: event.each.as_deref().map(|text| pointer(text, "event.each")).transpose()?,
        identity: event.identity,
    })
}

fn places(texts: &[String], key: &str) -> Result<Vec<ValuePlace>, ConfigureError> {
    let place = |text: &String| match ValuePlace::parse(text) {
        Ok(ValuePlace::Entry(_)) => {
            Err(wrong(key, "cannot be an entry of the signature: write header:NAME, query:NAME or pointer:/PATH"))
        }
        Ok(place) => Ok(place),
        Err(problem) => Err(wrong(key, problem)),
    };
    texts.iter().map(place).collect()
}

fn pointer(text: &str, key: &str) -> Result<JsonPointer, ConfigureError> {
    match ValuePlace::parse(text) {
        Ok(ValuePlace::Pointer(pointer)) => Ok(pointer),
        Ok(_) => Err(wrong(key, "must be a place in the body: write pointer:/PATH")),
        Err(problem) => Err(wrong(key, problem)),
    }
}

fn answer(settings: &AnswerSettings) -> Result<Option<Arc<SuccessAnswer>>, ConfigureError> {
    if settings.status.is_none() && settings.body.is_empty() {
        return Ok(None);
    }
    let status = StatusCode::from_u16(settings.status.unwrap_or(200)).ok().filter(StatusCode::is_success);
    let status = status.ok_or_else(|| wrong("answer.status", "must be from 200 to 299: correct the number"))?;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(Some(Arc::new(SuccessAnswer { status, body: settings.body.clone().into(), content_type })))
}

fn handshake(settings: &HandshakeSettings) -> Result<HandshakeRule, ConfigureError> {
    let key = "answer.handshake.when";
    let (place, value) = settings
        .when
        .split_once('=')
        .ok_or_else(|| wrong(key, "has no value: write it as \"pointer:/type=url_verification\""))?;
    let echo = pointer(&settings.echo, "answer.handshake.echo")?;
    if echo.steps().is_empty() {
        return Err(wrong("answer.handshake.echo", "must name a field: write pointer:/challenge"));
    }
    let hmac_as = Some(settings.hmac_as.clone()).filter(|name| !name.is_empty());
    if hmac_as.is_some() && hmac_as.as_ref() == echo.steps().last() {
        return Err(wrong(
            "answer.handshake.hmac_as",
            "is the name of the echoed field too: give the HMAC another name",
        ));
    }
    Ok(HandshakeRule { when: (pointer(place, key)?, value.to_owned()), echo, hmac_as })
}
