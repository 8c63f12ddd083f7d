// Draw each chart from its table, once it comes into sight: until then the library is not even loaded.
(function () {
    const section = document.querySelector("[data-charts]");
    if (!section) return;
    const nonce = document.currentScript.nonce; // the library puts styles into the page
    const MONTHS_AHEAD = 92 * 24 * 3600 * 1000; // a forecast for longer would squeeze what is known
    const drawn = [];

    const size = (bytes) => window.sizeOf(bytes, true);
    const seconds = (value) => (value < 120 ? `${value.toFixed(value && value < 10 ? 1 : 0)} s` : `${(value / 60).toFixed(0)} min`);
    const count = (value) => Math.round(value).toLocaleString("en");
    const WRITE = { bytes: size, disk: size, seconds, count };

    const niceStep = (about) => {
        const power = 10 ** Math.floor(Math.log10(about));
        return power * [1, 2, 5, 10].find((factor) => factor * power >= about);
    };

    const read = (table) => {
        const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
        const rows = [...table.tBodies[0].rows].reverse();
        return names.map((name, column) => ({
            name,
            data: rows.map((row) => [
                Date.parse(row.querySelector("time").dateTime), Number(row.cells[column + 1].dataset.value),
            ]),
        }));
    };

    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const isDark = () => document.documentElement.dataset.bsTheme === "dark";

    const options = (series, write, height, more) => ({
        series,
        chart: {
            type: "area", height, nonce, background: "transparent", fontFamily: "inherit", parentHeightOffset: 0,
            toolbar: { show: false }, zoom: { enabled: false }, animations: { enabled: false },
            redrawOnParentResize: true,
        },
        theme: { mode: isDark() ? "dark" : "light" },
        colors: [colour("--chart-line"), colour("--chart-limit")],
        stroke: { width: 2, curve: "straight" },
        fill: { type: "solid", opacity: 0.15 },
        dataLabels: { enabled: false },
        legend: { show: false },
        markers: { size: series[0].data.length <= 12 ? 4 : 0 },
        grid: { borderColor: colour("--tblr-border-color"), strokeDashArray: 3, padding: { left: 8, right: 16 } },
        xaxis: { type: "datetime", labels: { datetimeUTC: true }, tooltip: { enabled: false }, axisBorder: { show: false } },
        yaxis: { min: 0, forceNiceScale: true, tickAmount: 4, labels: { formatter: write } },
        tooltip: { x: { format: "d MMM yyyy" }, y: { formatter: write } },
        ...more,
    });

    // Used, how that would go on, and the whole disk as a line at the top.
    const disk = (card, [used, total]) => {
        const [lastTime, lastUsed] = used.data[used.data.length - 1];
        const whole = total.data[total.data.length - 1][1];
        const step = niceStep(whole / 4);
        const fullOn = Date.parse(card.querySelector("tbody").dataset.fullOn);
        const series = [{ ...used, type: "area" }];
        if (fullOn > lastTime && fullOn - lastTime < MONTHS_AHEAD) {
            series.push({ name: "If it goes on so", type: "line", data: [[lastTime, lastUsed], [fullOn, whole]] });
        }
        return options(series, size, 240, {
            stroke: { width: 2, curve: "straight", dashArray: [0, 6] },
            fill: { type: "solid", opacity: [0.15, 1] },
            yaxis: { min: 0, max: Math.ceil(whole / step) * step, stepSize: step, labels: { formatter: size } },
            annotations: {
                yaxis: [{
                    y: whole, borderColor: colour("--chart-limit"), strokeDashArray: 4,
                    label: {
                        text: `full at ${size(whole)}`, position: "left", textAnchor: "start", offsetY: -2,
                        style: { background: "transparent", color: colour("--tblr-body-color") }, borderWidth: 0,
                    },
                }],
            },
        });
    };

    const plans = (card) => {
        const series = read(card.querySelector("table"));
        const unit = card.dataset.chartUnit;
        if (unit === "disk") return [["", disk(card, series)]];
        // Of what differs a thousandfold, each has a scale of its own.
        const height = series.length > 1 ? 180 : 240;
        return series.map((one) => [series.length > 1 ? one.name : "", options([one], WRITE[unit], height)]);
    };

    const draw = (card) => {
        const place = card.querySelector("[data-chart-place]");
        place.replaceChildren();
        for (const [heading, plan] of plans(card)) {
            const column = document.createElement("div");
            column.className = heading ? "col-lg-4" : "col-12";
            const box = document.createElement("div");
            if (heading) {
                const name = document.createElement("div");
                name.className = "fw-medium mt-2";
                name.textContent = heading;
                column.append(name);
            }
            column.append(box);
            place.append(column);
            const chart = new window.ApexCharts(box, plan);
            chart.render();
            drawn.push([card, chart]);
        }
    };

    let loading;
    const load = () => {
        loading ??= new Promise((resolve, reject) => {
            const script = document.createElement("script");
            script.src = section.dataset.chartsLibrary;
            script.onload = resolve;
            script.onerror = reject;
            document.head.append(script);
        });
        return loading;
    };

    const cards = [...section.querySelectorAll("[data-chart]")];
    const watcher = new IntersectionObserver((entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        watcher.disconnect();
        // Without the pictures there are the sentences and the numbers.
        load().then(() => cards.forEach(draw), () => {});
    }, { rootMargin: "300px" });
    cards.forEach((card) => watcher.observe(card));

    new MutationObserver(() => {
        const again = new Set(drawn.map(([card]) => card));
        drawn.splice(0).forEach(([, chart]) => chart.destroy());
        again.forEach(draw);
    }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
})();
