// The page in a real browser: node test/browser.mjs PAGE.html... [--shots FOLDER]
//
// Each page is opened from its file, at phone and desktop width, light and dark. A console error, a
// request, a chart that is not drawn, a filter or a heading that does nothing, and a serious fault
// that axe-core finds are failures. Environment: CHROMIUM names the browser.
import { createRequire } from "node:module";
import { readFileSync, mkdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const pages = process.argv.slice(2).filter((word, i, all) => word !== "--shots" && all[i - 1] !== "--shots");
const shotsAt = process.argv.indexOf("--shots");
const shots = shotsAt > 0 ? process.argv[shotsAt + 1] : null;
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
      await context.close();
    }
    const { context, page } = await open(browser, path, { javaScriptEnabled: false });
    if ((await page.locator(".chart svg").count()) === 0) fail(path, "shows no still chart without scripts");
    await context.close();
  }
} finally {
  await browser.close();
}
for (const fault of faults) console.error(fault);
console.log(`${pages.length} pages, ${faults.length} faults`);
process.exit(faults.length > 0 ? 1 : 0);
