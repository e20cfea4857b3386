"""The dashboard in a browser: what it shows is what the API says, what it does is done, by keyboard alone.

Arguments: the address of the admin API, the configuration's file, a component that can be loaded as
`mine`, and a folder for pictures, which may be left out. Ends with an error at the first thing that
is not as it should be; says `all is well` at the end.
"""

import json
import sys
import time
import urllib.parse
import urllib.request

from browser import Browser

BASE, FILE, COMPONENT = sys.argv[1:4]
PICTURES = sys.argv[4] if len(sys.argv) > 4 else None
FOCUS = "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '')"
ROW = "[...document.querySelectorAll('tbody tr')].find((row) => row.innerText.includes(%s))"


def expect(found, wanted, what):
    if found != wanted:
        raise SystemExit(f"{what}: found {str(found)[:2000]!r}, wanted {str(wanted)[:2000]!r}")


def api(path):
    with urllib.request.urlopen(f"{BASE}/{path}") as answer:
        return json.load(answer)


def server(address):
    servers = api("upstreams/backend")["servers"]
    return next(server for server in servers if server["address"] == address)


def shown(section):
    return browser.js(f"document.getElementById('{section}').innerText")


def dialog(open=True):
    return browser.wait(f"document.getElementById('dialog').open === {json.dumps(open)}")


def refusal():
    return browser.wait("!document.getElementById('dialog-error').hidden && document.getElementById('dialog-error').innerText")


def walk(label, shift=False):
    """To what has this name, as somebody without a mouse does."""
    for _ in range(150):
        if browser.js(FOCUS) == label:
            return
        browser.press("Tab", shift)
    raise SystemExit(f"the focus never comes to {label!r}")


def press_in_row(text, label):
    """With the keyboard, once it is there at all."""
    row = ROW % json.dumps(text)
    named = f"[...({row})?.querySelectorAll('button') ?? []].find((b) => !b.hidden && b.ariaLabel === {json.dumps(label)})"
    browser.wait(f"!!({named}) && (({named}).focus(), true)")
    browser.press("Enter")
    dialog()


def what_it_shows():
    browser.wait("!!document.getElementById('updated')?.textContent")
    for upstream in api("upstreams")["upstreams"]:
        ready = sum(server["in_rotation"] for server in upstream["servers"])
        badge = f"{upstream['name']} {ready:,} of {len(upstream['servers']):,} in rotation"
        browser.wait(f"document.getElementById('upstreams').innerText.includes({json.dumps(badge)})")
    for server in api("upstreams/backend")["servers"]:
        row = ROW % json.dumps(server["address"])
        state = "up" if server["in_rotation"] else server["why"][0]["reason"]
        browser.wait(f"({row})?.querySelector('.badge').innerText === {json.dumps(state)}")
        weight = browser.js(f"({row}).querySelector('[data-label=Weight]').innerText")
        expect(weight, str(server["weight"]), "a weight")
    for plugin in api("plugins")["plugins"]:
        row = ROW % json.dumps(f"version {plugin['version']}, {plugin['hash'][:12]}")
        browser.wait(f"({row})?.innerText.includes({json.dumps(plugin['name'])})")
    status = api("status")
    for fact in [status["version"], str(status["pid"]), *status["listeners"]]:
        expect(fact in shown("process"), True, f"{fact} in {shown('process')}")
    # There is traffic: its rates come with the second poll, the lines of charts with those after.
    total = "document.querySelector('#totals dd').innerText"
    browser.wait(f"/^[0-9]/.test({total}) && {total} !== '0'")
    browser.wait("[...document.querySelectorAll('figure path.line')].some((l) => l.getAttribute('d'))")


def by_keyboard():
    address = next(s for s in api("upstreams/backend")["servers"] if s["in_rotation"])["address"]
    browser.js("document.activeElement.blur()")
    walk(f"Drain {address}")
    outline = browser.js("getComputedStyle(document.activeElement).outlineStyle")
    expect(outline, "solid", "the focus can be seen")
    browser.press("Enter")
    dialog()
    expect(browser.js(FOCUS), "Cancel", "the focus in a question")
    expect(server(address)["down"], False, "nothing is done before the answer")
    browser.press("Escape")
    dialog(False)
    expect(browser.js(FOCUS), f"Drain {address}", "the focus after Escape")
    browser.press("Enter")
    dialog()
    walk("Drain", shift=True)
    browser.press("Enter")
    dialog(False)
    expect(server(address)["down"], True, "it is drained")
    browser.wait(f"{FOCUS} === {json.dumps(f'Resume {address}')}")
    browser.press("Enter")
    dialog()
    walk("Resume")
    browser.press("Enter")
    dialog(False)
    expect(server(address)["down"], False, "it is resumed")
    walk(f"Change the weight of {address}")
    browser.press("Enter")
    dialog()
    for weight in ["0", "7"]:
        browser.js("document.activeElement.select()")
        browser.type(weight)
        browser.press("Enter")
        if weight == "0":
            refused = refusal()
            expect("weight" in refused, True, f"the API's words: {refused}")
    dialog(False)
    expect(server(address)["weight"], 7, "its weight")


def load(path, manner="load", share=None):
    press_in_row("mine", "Load a version of mine")
    browser.choose_file("#dialog input[type=file]", path)
    choice = "document.querySelector('#dialog select')"
    browser.js(f"{choice}.value = '{manner}'; {choice}.dispatchEvent(new Event('change'))")
    if share:
        browser.js(f"document.querySelector('#dialog input[type=text]').value = '{share}'")
    browser.js("document.getElementById('dialog-yes').focus()")
    browser.press("Enter")


def answer_yes():
    browser.js("document.getElementById('dialog-yes').focus()")
    browser.press("Enter")
    dialog(False)


def plugins():
    load(FILE)
    refused = refusal()
    expect(refused, api("plugins/mine")["last_error"], "the API's words")
    browser.press("Escape")
    dialog(False)
    load(COMPONENT)
    dialog(False)
    expect(api("plugins/mine")["previous"]["version"], 1, "the version before")
    press_in_row("mine", "Roll back mine")
    answer_yes()
    expect(api("plugins/mine")["version"], 1, "the version that it went back to")
    load(COMPONENT, "canary", "all of them")
    refused = refusal()
    expect("share" in refused or "percent" in refused or "%" in refused, True, refused)
    browser.press("Escape")
    dialog(False)
    load(COMPONENT, "canary", "5%")
    dialog(False)
    expect(api("plugins/mine")["trial"]["share"], "5%", "the share of the canary")
    browser.wait("document.getElementById('plugins').innerText.includes('canary of 5%')")
    press_in_row("mine", "Withdraw mine")
    answer_yes()
    expect("trial" in api("plugins/mine"), False, "nothing is tried")
    browser.wait("!document.getElementById('plugins').innerText.includes('canary of 5%')")
    load(COMPONENT, "canary", "5%")
    dialog(False)
    browser.wait("document.getElementById('plugins').innerText.includes('canary of 5%')")
    press_in_row("mine", "Promote mine")
    answer_yes()
    expect(api("plugins/mine")["promoted_from"], "canary of 5%", "where it came from")


def reload():
    with open(FILE) as file:
        good = file.read()
    with open(FILE, "w") as file:
        file.write(good + "\n<nonsense>\n")
    browser.js("document.getElementById('reload').focus()")
    browser.press("Enter")
    dialog()
    answer = "document.getElementById('dialog-yes').focus()"
    browser.js(answer)
    browser.press("Enter")
    refused = refusal()
    expect("not valid TOML" in refused and "-->" in refused, True, f"problems with their places: {refused}")
    with open(FILE, "w") as file:
        file.write(good)
    before = api("status")["generation"]
    browser.press("Enter")
    dialog(False)
    expect(api("status")["generation"], before + 1, "the generation")
    browser.wait("document.getElementById('done').innerText.includes('Reloaded')")
    expect(browser.js(FOCUS), "Reload configuration", "the focus after a reload")
    # What was refused is an event, and that it is over is one more.
    browser.wait("document.getElementById('events').innerText.includes('reload refused')")
    browser.wait("document.getElementById('changes').innerText.includes('reloaded: generation')")
    for event in api("events")["events"][:3]:
        section = "changes" if event["level"] == "info" else "events"
        browser.wait(f"document.getElementById('{section}').textContent.includes({json.dumps(event['text'])})")


def many():
    """1,000 endpoints: in pages, of which only that changes what has changed."""
    rows = "document.querySelectorAll('#upstreams details:last-child tbody tr')"
    # Its table comes with being opened.
    browser.js("document.querySelector('#upstreams details:last-child').open = true")
    browser.wait(f"{rows}.length === 25")
    first = browser.js(f"{rows}[0].innerText")
    browser.js(f"window.kept = {rows}[0]; window.changed = 0")
    browser.js(
        "new MutationObserver((all) => (changed += all.length)).observe(kept.parentElement,"
        " { childList: true, subtree: false })"
    )
    asked = browser.js("document.getElementById('updated').textContent")
    browser.wait(f"document.getElementById('updated').textContent !== {json.dumps(asked)}")
    expect(browser.js(f"kept === {rows}[0]"), True, "a row stays what it is")
    expect(browser.js("changed"), 0, "rows that came and went")
    pager = "document.querySelector('#upstreams details:last-child .pager')"
    browser.js(f"{pager}.querySelector('button[aria-label^=Next]').focus()")
    browser.press("Enter")
    expect(browser.js(f"{pager}.innerText.includes('26–50 of 1000')"), True, browser.js(f"{pager}.innerText"))
    expect(browser.js(f"{rows}[0].innerText") != first, True, "another page")
    browser.js(f"{pager}.querySelector('input').focus()")
    browser.type("10999")
    browser.wait(f"{rows}.length === 1 && {rows}[0].innerText.includes('127.0.1.4:10999')")


def hostile():
    """Text from elsewhere is text: of a client in the log, of a name in the configuration."""
    browser.wait("document.getElementById('events').textContent.includes('<img/src=x/onerror=alert(1)>')")
    expect("<b>many<b>" in shown("upstreams"), True, "the name as it is")
    made = "document.querySelectorAll('main b, main img, main script, main iframe').length"
    expect(browser.js(made), 0, "elements that texts have become")
    # Should code of ours ever try: the policy of the page refuses.
    tried = "(() => { try { document.body.innerHTML = '<b>'; } catch (error) { return error.name; } })()"
    expect(browser.js(tried), "TypeError", "what a text that is put in as markup ends with")


def hidden():
    """Nobody looks: nothing is asked. It is hidden when a round has ended, so that none is under way."""
    browser.js(
        "new Promise((done) => new MutationObserver((_, observer) => {"
        " observer.disconnect();"
        " Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange'));"
        " done();"
        "}).observe(document.getElementById('updated'), { childList: true }))"
    )
    before = len(browser.told("Network.requestWillBeSent"))
    # A pause between rounds is two seconds. A slow machine may hide a fault, and makes none.
    browser.js("new Promise((done) => setTimeout(done, 2300))")
    expect(len(browser.told("Network.requestWillBeSent")), before, "requests of a hidden page")
    updated = browser.js("document.getElementById('updated').textContent")
    browser.js("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    browser.wait(f"document.getElementById('updated').textContent !== {json.dumps(updated)}")


def names():
    """What a screen reader has to say."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    for node in nodes:
        role = node.get("role", {}).get("value")
        wanted = ["button", "textbox", "searchbox", "combobox", "table", "checkbox", "img", "dialog"]
        if role in wanted and not node["ignored"]:
            expect(bool(node.get("name", {}).get("value")), True, f"a {role} has a name: {node}")
    headless = "[...document.querySelectorAll('table')].filter((t) => !t.caption.innerText || !t.tHead)"
    expect(browser.js(f"{headless}.length"), 0, "tables without a caption or a head")


def sizes():
    colors = []
    for scheme, width, height in [("light", 1280, 900), ("dark", 1280, 900), ("light", 320, 640)]:
        browser.screen(width, height, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        colors.append(browser.js("getComputedStyle(document.body).backgroundColor"))
        widest = browser.js("document.documentElement.scrollWidth")
        expect(widest <= width, True, f"{widest} pixels wide on {width}")
        if PICTURES:
            browser.picture(f"{PICTURES}/{scheme}-{width}.png")
    expect(colors[0] != colors[1], True, f"dark is another color than light: {colors}")
    expect(browser.js("getComputedStyle(document.documentElement).scrollBehavior"), "auto", "motion")


def requests():
    """Of the page, all along: to this process alone, one after the other, and none that failed unmeant."""
    under_way, most, polls = set(), 0, 0
    for event in browser.events:
        told, method = event.get("params", {}), event.get("method")
        if method == "Network.requestWillBeSent":
            url = told["request"]["url"]
            expect(url.startswith(BASE + "/"), True, f"a request to {url}")
            if told["type"] == "Fetch" and told["request"]["method"] == "GET":
                polls += 1
                under_way.add(told["requestId"])
                most = max(most, len(under_way))
        elif method in ["Network.loadingFinished", "Network.loadingFailed"]:
            under_way.discard(told["requestId"])
    expect((most, polls > 10), (1, True), "questions at a time")
    # Of what was refused on purpose the console speaks too, and of what only some processes list.
    meant = ["requires 'TrustedHTML'", "status of 422", "status of 404 (Not Found) " + BASE + "/certificates"]
    unmeant = [said for said in browser.complaints() if not any(part in said for part in meant)]
    expect(unmeant, [], "what the console says")


begin = time.monotonic()
with Browser() as browser:
    browser.screen(1280, 900)
    browser.open(f"{BASE}/dashboard")
    for step in [what_it_shows, by_keyboard, plugins, reload, many, hostile, names, sizes, hidden, requests]:
        step()
        print(step.__name__, round(time.monotonic() - begin, 1), flush=True)
print("all is well")
