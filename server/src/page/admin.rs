//! Pages for those who hold an admin token: usage, tokens, scrubs, and the audit log.

use std::sync::Arc;
use std::time::Duration;

use at1w_registry::{Series, gb_months, month_begin, show_time};
use axum::body::Body;
use axum::http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::parts::{
    Page, boxes, commands, count, counted, number, percent, plots, short, shown, shown_lines, size,
    table, text, time,
};
use super::{growth, shell, sign_in};
use crate::address::Query;
use crate::call::{Call, blocking, worked};
use crate::error::{Answer, Error, Problem};
use crate::token::{Listed, NewToken, Role, Token, now};
use crate::upkeep::start_scrub;

const DAY: u64 = 24 * 3600;

/// The tabs: each address, and what it shows.
const TABS: [(&str, &str); 4] = [
    ("/admin", "Usage"),
    ("/admin/tokens", "Tokens"),
    ("/admin/scrub", "Scrub"),
    ("/admin/audit", "Audit log"),
];

pub(super) async fn answer(call: Arc<Call>, rest: &[&str], body: Body) -> Answer {
    match call.who.token() {
        None => return Err(Problem::needs_token()),
        Some(token) if token.role != Role::Admin => {
            return Err(Problem::forbidden("An admin token is needed here"));
        }
        Some(_) => {}
    }
    if call.method == Method::POST {
        let form = sign_in::posted(&call, body).await?;
        return match rest {
            ["tokens"] => blocking(move || create(&call, &form)).await,
            ["tokens", "revoke"] => blocking(move || revoke(&call, &form)).await,
            ["scrub"] => {
                let asked = Arc::clone(&call);
                blocking(move || record(&asked, "scrub")).await?;
                start_scrub(&call.hub)?;
                Ok(sign_in::go("/admin/scrub", None))
            }
            _ => Err(Problem::no_route()),
        };
    }
    match rest {
        [] => {
            let slots = Arc::clone(&call.hub.pages);
            worked(&slots, move || usage(&call)).await
        }
        ["tokens"] => blocking(move || tokens(&call, None)).await,
        ["scrub"] => blocking(move || scrub(&call)).await,
        ["audit"] => blocking(move || audit(&call)).await,
        _ => Err(Problem::no_route()),
    }
}

/// Records what is about to be done in the audit log.
fn record(call: &Call, action: &str) -> Answer<()> {
    call.hub.audit(json!({
        "request": call.id,
        "token": call.who.token().map(|token| &token.id),
        "actor": call.who.name(),
        "action": action,
    }))
}

fn frame(call: &Call, at: usize, content: &Markup) -> axum::http::Response<Body> {
    let content = html! {
        h1 { "Admin" }
        nav.tabs aria-label="Admin" {
            @for (place, (address, name)) in TABS.iter().enumerate() {
                a href=(address) aria-current=[(place == at).then_some("page")] { (name) }
            }
        }
        (content)
    };
    shell::page(call, TABS[at].1, &content)
}

fn usage(call: &Call) -> Answer {
    let store = &call.hub.store;
    let now = now();
    let month = month_begin(now)..now;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for namespace in store.namespaces()? {
        let usage = call.hub.usages.of(store, &namespace)?;
        let (end, period) = (usage.series.end(), usage.series.over(month.clone()));
        let live = usage.repos.iter().filter(|repo| repo.series.end().logical > 0).count();
        rows.push(vec![
            html! { bdi { (shown(&namespace)) } },
            count(live as u64),
            size(end.logical),
            size(end.unique),
            size(end.stored),
            percent(end.unique.saturating_sub(end.stored), end.unique),
            html! { (gb_months(period.byte_seconds.unique)) },
        ]);
        all.push(usage);
    }
    let total = Series::sum(all.iter().map(|usage| &usage.series));
    let end = total.end();
    let columns = [
        text("namespace"),
        number("repositories"),
        number("logical"),
        number("unique"),
        number("stored"),
        number("saved"),
        number("GB-months, this month"),
    ];
    let content = html! {
        h2 { "Usage" }
        (boxes(&[
            ("under management", size(end.unique)),
            ("stored", size(end.stored)),
            ("GB-months, this month", html! { (gb_months(total.over(month).byte_seconds.unique)) }),
        ]))
        (table(call, "Usage", &columns, rows))
        (plots([growth::drawn(&total, "All namespaces")]))
        p.note {
            "Logical is every revision as it is, unique is each file once a namespace, stored is "
            "what they take, each tensor once. GB-months are of unique bytes."
        }
    };
    Ok(frame(call, 0, &content))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Write => "write",
        Role::Admin => "admin",
    }
}

/// Writes a number of seconds since 1970.
fn since(seconds: u64) -> Markup {
    /// In the year 2514: times can be any number.
    const LATEST: u64 = 4 << 32;
    time(&show_time(seconds.min(LATEST)))
}

/// Returns the list of tokens; a new one is shown once.
fn tokens(call: &Call, new: Option<&str>) -> Answer {
    let Listed { tokens, damaged } = call.hub.tokens.list()?;
    let page = Page::of(call, tokens.len());
    let row = |token: &Token| {
        vec![
            html! { bdi { (shown(&token.name)) } },
            html! { code { (shown(&token.id)) } },
            html! { (role(token.role)) },
            html! {
                @if token.namespaces.is_empty() { "all" }
                @else { (shown(&token.namespaces.join(", "))) }
            },
            since(token.created),
            match token.expires {
                Some(expires) => since(expires),
                None => html! { "never" },
            },
            html! {
                form method="post" action="/admin/tokens/revoke" {
                    input type="hidden" name="id" value=(token.id);
                    button.plain { "Revoke" span.hidden { " " (shown(&token.name)) } }
                }
            },
        ]
    };
    let columns = [
        text("name"),
        text("id"),
        text("role"),
        text("namespaces"),
        text("made"),
        text("ends"),
        text("revoke"),
    ];
    let content = html! {
        h2 { "Tokens" }
        @if let Some(secret) = new {
            p role="status" { "This is the new token. It is shown once, and kept nowhere:" }
            (commands("The new token", &[secret.to_owned()]))
        }
        (table(call, "Tokens", &columns, tokens[page.range()].iter().map(row)))
        (page.links(call, "tokens"))
        @if !damaged.is_empty() {
            p { "Damaged, and of no use to anybody; at1w token revoke removes them by their ids:" }
            ul { @for id in &damaged { li { code { (shown(id)) } } } }
        }
        h3 { "Make one" }
        form.stack method="post" action="/admin/tokens" {
            label for="name" { "Name, which commits name as their author" }
            input #name type="text" name="name" required;
            label for="role" { "It may" }
            select #role name="role" {
                option value="read" { "read" }
                option value="write" { "read and write" }
                option value="admin" { "do everything" }
            }
            label for="namespaces" { "Namespaces, with commas between; none is all" }
            input #namespaces type="text" name="namespaces";
            label for="days" { "Days until it ends; none is never" }
            input #days type="number" name="days" min="1" max="36500";
            button { "Make it" }
        }
    };
    Ok(frame(call, 1, &content))
}

fn create(call: &Call, form: &Query) -> Answer {
    let field = |name| form.get(name).unwrap_or_default().trim();
    let role = match field("role") {
        "read" => Role::Read,
        "write" => Role::Write,
        "admin" => Role::Admin,
        other => return Err(Problem::bad(format!("{other:?} is no role"))),
    };
    let days = match field("days") {
        "" => None,
        days => Some(days.parse::<u64>().map_err(|_| Problem::bad("Days are a number"))?),
    };
    let names = field("namespaces").split(',').map(str::trim).filter(|name| !name.is_empty());
    let new = NewToken {
        name: field("name").to_owned(),
        role,
        namespaces: names.map(str::to_owned).collect(),
        lifetime: days.map(|days| Duration::from_secs(days.saturating_mul(DAY))),
    };
    let (secret, _) = call.hub.tokens.create_as(&new, call.who.name()).map_err(of_token)?;
    tokens(call, Some(&secret))
}

fn revoke(call: &Call, form: &Query) -> Answer {
    let id = form.get("id").unwrap_or_default();
    call.hub.tokens.revoke_as(id, call.who.name()).map_err(of_token)?;
    Ok(sign_in::go("/admin/tokens", None))
}

fn of_token(error: Error) -> Problem {
    match error {
        Error::Token(problem) => Problem::bad(problem),
        error => error.into(),
    }
}

fn scrub(call: &Call) -> Answer {
    let state = call.hub.scrubs.state();
    let content = html! {
        h2 { "Scrub" }
        p { "A scrub reads and proves every byte that is in use, and marks what is damaged, so "
            "that no push relies on it. This server runs one at a time." }
        @match &state.running {
            Some(running) => {
                @let [done, all] = running.work();
                p role="status" {
                    "One is running since " (since(running.since)) ": "
                    (size(done)) " of " (size(all)) ". " a href="/admin/scrub" { "Look again" }
                }
            }
            None => form method="post" action="/admin/scrub" { button { "Scrub now" } },
        }
        @if let Some((end, outcome)) = &state.last {
            h3 { "The last one of this server" }
            @match outcome {
                Err(problem) => p.problem { "It failed: " (shown(problem)) },
                Ok(found) => {
                    p { "Until " (since(*end)) ": " (size(found.bytes)) " read, "
                        (counted(found.proven, "place")) " proven, "
                        (counted(found.damaged.len() as u64, "damaged place")) "." }
                    (damage(call, &found.damaged))
                }
            }
        }
        h3 { "The last record of each namespace" }
        (records(call)?)
    };
    Ok(frame(call, 2, &content))
}

fn damage(call: &Call, damaged: &[at1w_registry::Damage]) -> Markup {
    let columns = [text("place"), text("what"), text("revisions")];
    let page = Page::of(call, damaged.len());
    let row = |damage: &at1w_registry::Damage| {
        vec![
            html! { code { (shown(&damage.pack)) " " (damage.offset) } },
            html! {
                @if let Some(tensor) = &damage.tensor { bdi { (shown(tensor)) } ": " }
                (shown(&damage.problem))
            },
            html! { (shown_lines(&damage.revisions.iter().take(5).cloned().collect::<Vec<_>>()
            .join("\n"))) },
        ]
    };
    html! {
        @if !damaged.is_empty() {
            (table(call, "Damage", &columns, damaged[page.range()].iter().map(row)))
            (page.links(call, "damaged places"))
            p.note { code { "at1w store repair" } " takes them from a copy." }
        }
    }
}

fn records(call: &Call) -> Answer<Markup> {
    let store = &call.hub.store;
    let mut rows = Vec::new();
    for namespace in store.namespaces()? {
        let Some(record) = store.last_scrub(&namespace)? else { continue };
        rows.push(vec![
            html! { bdi { (shown(&namespace)) } },
            time(&record.statement.ended),
            size(record.statement.bytes),
            count(record.statement.damaged),
            html! { (if record.signature.is_some() { "yes" } else { "no" }) },
        ]);
    }
    let columns = [
        text("namespace"),
        text("until"),
        number("read"),
        number("damaged places"),
        text("signed"),
    ];
    Ok(html! {
        @if rows.is_empty() { p { "There is none." } }
        @else { (table(call, "Records", &columns, rows)) }
    })
}

fn audit(call: &Call) -> Answer {
    let objects = call.hub.store.objects();
    let mut keys: Vec<_> = objects.list("audit")?.into_iter().map(|meta| meta.key).collect();
    keys.reverse();
    let page = Page::of(call, keys.len());
    let mut rows = Vec::new();
    for bytes in objects.get_all(&keys[page.range()])?.into_iter().flatten() {
        let record: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let field = |name: &str| shown(record[name].as_str().unwrap_or_default());
        let more = &record["more"];
        rows.push(vec![
            since(record["time"].as_u64().unwrap_or(0)),
            html! { (field("action")) },
            html! { bdi { (field("actor")) } },
            html! { bdi { (field("repo")) } },
            short(&field("token")),
            html! { @if !more.is_null() { code.wide { (shown(&more.to_string())) } } },
        ]);
    }
    let columns =
        [text("time"), text("action"), text("by"), text("repository"), text("token"), text("more")];
    let content = html! {
        h2 { "Audit log" }
        @if rows.is_empty() { p { "Nothing is recorded yet." } }
        @else {
            (table(call, "Audit log", &columns, rows))
            (page.links(call, "records"))
        }
    };
    Ok(frame(call, 3, &content))
}
