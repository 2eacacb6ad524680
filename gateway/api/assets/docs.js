"use strict";
// Lays out openapi.json as a reference. Text is only ever set as text, never as markup.

const METHODS = ["get", "put", "post", "patch", "delete"];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// `code` and **bold** of a description, as elements.
function prose(text, tag = "p") {
  const parts = String(text || "").split(/(`[^`]+`|\*\*[^*]+\*\*)/);
  return make(tag, {}, ...parts.map((part) => {
    if (part.startsWith("`")) return make("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return make("strong", {}, part.slice(2, -2));
    return part;
  }));
}

class Reference {
  constructor(api) {
    this.api = api;
  }

  resolve(node) {
    if (!node || !node.$ref) return node || {};
    const path = node.$ref.slice(2).split("/");
    return path.reduce((here, step) => here[step], this.api);
  }

  calls() {
    const found = [];
    for (const [path, methods] of Object.entries(this.api.paths)) {
      for (const method of METHODS) {
        if (methods[method]) found.push({ path, method, ...methods[method] });
      }
    }
    return found;
  }

  typeOf(schema) {
    if (schema.$ref) return schema.$ref.split("/").pop().replace(/(In|Out)$/, "");
    if (schema.type === "array") return `array of ${this.typeOf(schema.items || {})}`;
    if (schema.enum) return schema.enum.join(" | ");
    if (schema.format === "date-time") return "time";
    return schema.type || "any";
  }

  limits(schema) {
    const said = [];
    const range = (low, high, what) => {
      if (low !== undefined && high !== undefined) said.push(`${low.toLocaleString("en")} to ${high.toLocaleString("en")}${what}`);
      else if (low !== undefined) said.push(`at least ${low.toLocaleString("en")}${what}`);
      else if (high !== undefined) said.push(`at most ${high.toLocaleString("en")}${what}`);
    };
    range(schema.minimum, schema.maximum, "");
    range(schema.minItems, schema.maxItems, " entries");
    range(schema.minLength, schema.maxLength, " characters");
    if (schema.pattern) said.push(schema.pattern);
    if (schema.default !== undefined) said.push(`default ${JSON.stringify(schema.default)}`);
    return said.join(" · ");
  }

  row(name, schema, needed, text) {
    const shape = this.resolve(schema);
    const about = make("td", {}, prose(schema.description || text || "", "span"));
    const limits = this.limits(schema.$ref ? {} : shape);
    if (limits) about.append(make("div", { class: "limits" }, limits));
    return make("tr", {},
      make("td", {}, make("code", {}, name), needed ? make("div", { class: "needed" }, "required") : ""),
      make("td", {}, this.typeOf(schema)), about);
  }

  table(rows) {
    const head = make("thead", {}, make("tr", {}, ...["Name", "Type", "Meaning"].map((text) => make("th", { scope: "col" }, text))));
    return make("div", { class: "wide" }, make("table", { class: "fields" }, head, make("tbody", {}, ...rows)));
  }

  // Rows for the fields of a schema, those of nested objects included, as `lines[].sku`.
  fieldRows(schema, prefix = "", depth = 0) {
    const shape = this.resolve(schema);
    const required = shape.required || [];
    return Object.entries(shape.properties || {}).flatMap(([name, field]) => {
      const nested = field.type === "array" ? field.items : field;
      const rows = [this.row(prefix + name, field, required.includes(name))];
      if (nested && nested.$ref && depth < 2 && !nested.$ref.endsWith("/ProblemOut")) {
        rows.push(...this.fieldRows(nested, `${prefix}${name}${field.type === "array" ? "[]" : ""}.`, depth + 1));
      }
      return rows;
    });
  }

  parameters(call) {
    const all = (call.parameters || []).map((parameter) => this.resolve(parameter));
    if (!all.length) return [];
    const rows = all.map((it) => this.row(it.in === "header" ? `${it.name}:` : it.name, it.schema, it.required, it.description));
    return [make("h4", {}, "Parameters"), this.table(rows)];
  }

  body(call) {
    if (!call.requestBody) return [];
    const content = call.requestBody.content["application/json"];
    return [make("h4", {}, "Body"), this.table(this.fieldRows(content.schema))];
  }

  answers(call) {
    const parts = [make("h4", {}, "Answers")];
    for (const [status, answer] of Object.entries(call.responses)) {
      const content = (answer.content || {})["application/json"];
      if (answer.content && answer.content["application/problem+json"]) continue;
      parts.push(prose(`**${status}** ${answer.description}`));
      if (content && content.example) parts.push(this.sample(JSON.stringify(content.example, null, 2)));
      if (content && content.schema) {
        parts.push(make("details", {}, make("summary", {}, "Fields"), this.table(this.fieldRows(content.schema))));
      }
    }
    return parts;
  }

  problems(call) {
    const items = [];
    for (const [status, answer] of Object.entries(call.responses)) {
      const problem = (answer.content || {})["application/problem+json"];
      for (const code of Object.keys((problem || {}).examples || {})) {
        items.push(make("li", {}, `${status} `, make("a", { href: `problems/${code}` }, code)));
      }
    }
    return items.length ? [make("h4", {}, "Problems"), make("ul", { class: "codes" }, ...items)] : [];
  }

  command(call) {
    const parameters = (call.parameters || []).map((parameter) => this.resolve(parameter));
    let path = call.path;
    const query = [];
    const words = [];
    for (const it of parameters) {
      const value = it.example || ((it.schema.items || it.schema).examples || [""])[0];
      if (it.in === "path") path = path.replace(`{${it.name}}`, value);
      if (it.in === "query" && it.required) query.push(`${it.name}=${encodeURIComponent(value)}`);
      if (it.in === "header" && it.required) words.push(`-H '${it.name}: ${value}'`);
    }
    if ((call.security || []).length) words.push("-H \"Authorization: Bearer $STOCKGATE_KEY\"");
    if (call.requestBody) {
      const content = call.requestBody.content["application/json"];
      words.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(content.example || {})}'`);
    }
    const verb = call.method === "get" ? "" : `-X ${call.method.toUpperCase()} `;
    const root = location.href.replace(/\/docs\/?([?#].*)?$/, "");
    return [`curl ${verb}'${root}${path}${query.length ? `?${query.join("&")}` : ""}'`, ...words].join(" \\\n  ");
  }

  sample(text) {
    const button = make("button", { type: "button", class: "copy" }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select it";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    return make("div", { class: "sample" }, make("pre", { tabindex: "0" }, make("code", {}, text)), button);
  }

  call(call) {
    const scopes = (call.security || []).flatMap((one) => Object.values(one).flat());
    return make("section", { class: "call", id: call.operationId, "aria-labelledby": `${call.operationId}-title` },
      make("h3", { id: `${call.operationId}-title` }, call.summary),
      make("p", { class: "signature" },
        make("span", { class: `verb ${call.method}` }, call.method.toUpperCase()),
        make("span", { class: "path" }, call.path),
        make("span", { class: "scope" }, scopes.length ? `scope ${scopes.join(", ")}` : "no key needed")),
      prose(call.description),
      this.sample(this.command(call)),
      ...this.parameters(call), ...this.body(call), ...this.answers(call), ...this.problems(call));
  }

  render() {
    const calls = this.calls();
    document.getElementById("title").textContent = `${this.api.info.title} ${this.api.info.version}`;
    document.getElementById("intro").replaceChildren(...this.api.info.description.split("\n\n").map((text) => prose(text)));
    for (const tag of this.api.tags) {
      const own = calls.filter((call) => call.tags.includes(tag.name));
      const list = make("ul", {}, ...own.map((call) => make("li", { "data-call": call.operationId }, make("a", { href: `#${call.operationId}` }, call.summary))));
      document.getElementById("links").append(make("div", {}, make("h2", {}, tag.name), list));
      document.getElementById("calls").append(make("div", {}, make("h2", {}, tag.name), prose(tag.description), ...own.map((call) => this.call(call))));
    }
    this.listen(calls);
  }

  listen(calls) {
    document.getElementById("filter").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const call of calls) {
        const text = `${call.method} ${call.path} ${call.summary} ${call.description} ${call.tags}`.toLowerCase();
        const fits = words.every((word) => text.includes(word));
        shown += fits;
        document.getElementById(call.operationId).hidden = !fits;
        document.querySelector(`[data-call="${call.operationId}"]`).hidden = !fits;
      }
      for (const group of document.querySelectorAll("#links > div, #calls > div")) {
        group.hidden = !group.querySelector("li[data-call]:not([hidden]), section:not([hidden])");
      }
      document.getElementById("none").hidden = shown > 0;
    });
  }
}

async function start() {
  if (window.matchMedia("(max-width: 56rem)").matches) document.getElementById("contents").open = false;
  const answer = await fetch("openapi.json", { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`openapi.json answered ${answer.status}`);
  new Reference(await answer.json()).render();
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

start().catch((error) => {
  document.getElementById("intro").replaceChildren(
    prose(`The reference could not be laid out (${error.message}). Reload the page, or read openapi.json.`));
});
