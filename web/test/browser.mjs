// The page in a real browser: node test/browser.mjs PAGE.html... [--shots FOLDER] [--what-if FILE]
//
// Each page is opened from its file, at phone and desktop width, light and dark. A console error, a
// request, a chart that is not drawn, a filter or a heading that does nothing, and a serious fault
// that axe-core finds are failures. FILE lists what the first page shall plan anew: {cases: [[stop of
// each control, ...], ...]}; what the page then shows is written back as {answers}. Environment: CHROMIUM names the browser.
import { createRequire } from "node:module";
import { readFileSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const words = process.argv.slice(2);
const options = ["--shots", "--what-if"];
const valueOf = (option) => (words.includes(option) ? words[words.indexOf(option) + 1] : null);
const pages = words.filter((word, i) => !options.includes(word) && !options.includes(words[i - 1]));
const shots = valueOf("--shots");
const whatIf = valueOf("--what-if");
if (shots) mkdirSync(shots, { recursive: true });

const faults = [];
const fail = (page, what) => faults.push(`${basename(page)}: ${what}`);

const sizes = {
  desktop: { viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: "light" },
};

async function open(browser, path, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) fail(path, `console: ${message.text()}`);
  });
  page.on("pageerror", (error) => fail(path, `script: ${error.message}`));
  page.on("dialog", (dialog) => {
    fail(path, `a study's text ran as a script: ${dialog.message()}`);
    dialog.dismiss();
  });
  const address = pathToFileURL(resolve(path)).href;
  page.on("request", (request) => {
    const url = request.url();
    if (url !== address && !url.startsWith("data:") && !url.startsWith("blob:")) fail(path, `request: ${url}`);
  });
  await page.goto(address);
  return { context, page };
}

async function checkCharts(page, path, size) {
  const charts = await page.$$eval(".chart[data-chart]", (places) =>
    places.map((place) => ({
      name: place.dataset.chart,
      drawn: [...place.querySelectorAll("svg")].filter((svg) => svg.querySelectorAll("path, rect, circle, text").length > 2).length,
      tables: place.querySelectorAll("table").length,
      wide: place.scrollWidth - place.clientWidth,
    })),
  );
  if (charts.length === 0) fail(path, "has no charts");
  const foreign = await page.$$eval("img, iframe, object, embed, svg [onload]", (all) => all.length);
  if (foreign > 0) fail(path, "a study's text became markup");
  for (const chart of charts) {
    if (chart.drawn === 0 && chart.tables === 0) fail(path, `${size}: chart ${chart.name} is not drawn`);
  }
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (overflow > 1) fail(path, `${size}: the page is ${overflow} px wider than the screen`);
}

async function checkAccessibility(page, path, size) {
  await page.evaluate(axe);
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const fault of result.violations) {
    if (!["serious", "critical"].includes(fault.impact)) continue;
    fail(path, `${size}: axe ${fault.id}: ${fault.help}: ${fault.nodes.slice(0, 2).map((node) => node.html.slice(0, 160)).join(" | ")}`);
  }
}

async function checkTable(page, path) {
  const rows = () => page.$$eval("#table tbody tr", (lines) => lines.map((line) => line.textContent));
  const before = await rows();
  if (before.length === 0) return fail(path, "the table of layouts is empty");
  const dots = () => page.$$eval('[data-chart="layouts"] svg g[data-mark="dot"] path', (all) => all.length);
  const select = (await page.$('select[name="tp"]')) ?? (await page.$(".filters select"));
  if (select) {
    const dotsBefore = await dots();
    await select.selectOption({ index: 1 });
    const after = await rows();
    if (JSON.stringify(after) === JSON.stringify(before)) fail(path, "a filter changes nothing");
    const shown = await page.textContent(".count");
    if (!/\d/.test(shown)) fail(path, "does not say how many rows are shown");
    if ((await dots()) === dotsBefore && after.length < before.length) fail(path, "a filter does not reach the chart");
    await page.click('.filters button[type="button"]');
    if (JSON.stringify(await rows()) !== JSON.stringify(before)) fail(path, "reset does not bring the rows back");
  }
  const mfu = page.locator("#table th button", { hasText: "MFU" });
  await mfu.click();
  const figures = await page.$$eval("#table tbody tr", (lines) =>
    lines.map((line) => [...line.cells].map((cell) => cell.textContent).find((text) => /^\d+\.\d %$/.test(text))).filter(Boolean).map(parseFloat),
  );
  if (figures.some((figure, i) => i > 0 && figure < figures[i - 1])) fail(path, "a heading does not sort");
  await page.fill('.filters input[type="search"]', "no layout is called so");
  if ((await rows()).length > 0) fail(path, "the search finds what is not there");
  await page.click('.filters button[type="button"]');
}

async function checkKeyboard(page, path) {
  await page.keyboard.press("Tab");
  const first = await page.evaluate(() => document.activeElement?.getAttribute("href"));
  if (first !== "#answer") fail(path, "the first tab stop does not skip to the recommendation");
}

/// Waits until the page says yes. (Playwright's own waiting evaluates text, which the page forbids.)
async function until(page, question, argument) {
  const end = performance.now() + 60_000;
  while (!(await page.evaluate(question, argument))) {
    if (performance.now() > end) throw new Error(`waited a minute for ${question}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/// Sets every control as a person's hand would, and waits for the answer to the last of them.
async function planAnew(page, stops) {
  const before = await page.$eval(".what-if-result", (result) => result.dataset.answered ?? "");
  await page.$$eval(
    ".what-if input, .what-if select",
    (inputs, stops) =>
      inputs.forEach((input, i) => {
        if (Number(input.value) === stops[i]) return;
        input.value = stops[i];
        input.dispatchEvent(new Event("input", { bubbles: true }));
      }),
    stops,
  );
  await until(page, (before) => {
    const result = document.querySelector(".what-if-result");
    return (result.dataset.answered ?? "") !== before && !result.hasAttribute("aria-busy");
  }, before);
  return page.evaluate(() => {
    const texts = (selector) => [...document.querySelectorAll(`.what-if-result ${selector}`)].map((one) => one.textContent);
    const rows = [...document.querySelectorAll(".what-if-result tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
    return {
      status: document.querySelector(".outcome").textContent,
      titles: texts("th"),
      rows,
      counts: texts("summary")[0] ?? "",
      changes: texts(".change"),
    };
  });
}

async function checkWhatIf(page, path) {
  const planned = await page.$$eval(".what-if input, .what-if select", (inputs) => inputs.map((input) => Number(input.value)));
  if (planned.length !== 9) return fail(path, "what-if lacks controls");
  const shown = () => page.$eval(".what-if-result", (result) => result.textContent);
  const first = await shown();
  // By keyboard: End is eight times the devices, or as many as there may be.
  await page.focus("#what_if_devices");
  await page.keyboard.press("End");
  await until(page, () => document.querySelector(".change") !== null);
  const changed = await shown();
  if (changed === first) fail(path, "what-if plans nothing anew");
  if (!(await page.getAttribute("#what_if_devices", "aria-valuetext"))) fail(path, "a slider does not say its value");
  if (!/[▲▼=]/.test(changed)) fail(path, "what-if does not say what changed");
  // Faster than the planner: only the last setting counts, and it is the report's own.
  for (let i = 0; i < 8; ++i) await page.keyboard.press("ArrowLeft");
  await page.click(".what-if-actions button");
  await until(page, (first) => document.querySelector(".what-if-result").textContent === first, first);
}

async function answerWhatIf(page) {
  const { cases } = JSON.parse(readFileSync(whatIf, "utf8"));
  const answers = [];
  const times = [];
  for (const stops of cases) {
    const begun = performance.now();
    answers.push(await planAnew(page, stops));
    times.push(performance.now() - begun);
  }
  writeFileSync(whatIf, JSON.stringify({ cases, answers }));
  times.sort((a, b) => a - b);
  console.log(`planned anew ${cases.length} times: median ${Math.round(times[times.length >> 1])} ms, longest ${Math.round(times.at(-1))} ms, each with the delay after the last change`);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  for (const path of pages) {
    for (const [size, options] of Object.entries(sizes)) {
      const { context, page } = await open(browser, path, options);
      if (size === "desktop") await checkKeyboard(page, path);
      await checkCharts(page, path, size);
      await checkAccessibility(page, path, size);
      if (shots) {
        const name = basename(path).replace(/\.html$/, "");
        await page.screenshot({ path: join(shots, `${name}-${size}-first.png`) });
        for (const section of await page.locator("section").all()) {
          await section.screenshot({ path: join(shots, `${name}-${size}-${await section.getAttribute("id")}.png`) });
        }
      }
      if (size === "desktop") await checkTable(page, path);
      const plans = (await page.locator("#what_if form").count()) > 0;
      if (plans && size !== "dark") await checkWhatIf(page, path);
      if (plans && size === "desktop" && whatIf && path === pages[0]) await answerWhatIf(page);
      await context.close();
    }
    const { context, page } = await open(browser, path, { javaScriptEnabled: false });
    if ((await page.locator(".chart svg").count()) === 0) fail(path, "shows no still chart without scripts");
    const anew = page.locator("#what_if");
    if ((await anew.count()) > 0 && !(await anew.locator("noscript").count())) fail(path, "what-if does not say that it needs scripts");
    await context.close();
  }
} finally {
  await browser.close();
}
for (const fault of faults) console.error(fault);
console.log(`${pages.length} pages, ${faults.length} faults`);
process.exit(faults.length > 0 ? 1 : 0);
