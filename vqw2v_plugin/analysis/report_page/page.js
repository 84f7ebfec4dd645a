(() => {
  const tip = document.createElement("div");
  tip.className = "tip"; tip.hidden = true; document.body.append(tip);
  const NS = "http://www.w3.org/2000/svg";
  const put = (parent, name, attributes) => {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    parent.append(node);
  };
  const show = (event, text) => {
    tip.textContent = text; tip.hidden = !text;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    const below = event.clientY + 18;
    tip.style.top = (below + box.height > innerHeight ? event.clientY - box.height - 12 : below) + "px";
  };
  const place = (svg, event) => {
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    return [(event.clientX - box.left) * view.width / box.width, (event.clientY - box.top) * view.height / box.height];
  };
  const nearest = (points, x) => {
    let best = 0;
    points.forEach((p, i) => { if (Math.abs(p[0] - x) < Math.abs(points[best][0] - x)) best = i; });
    return best;
  };
  const figures = {
    curves(svg, told, x) {
      const aim = svg.querySelector("g.aim"), says = [];
      aim.replaceChildren();
      told.forEach(series => {
        if (!series.at.length) return;
        const i = nearest(series.at, x), [px, py] = series.at[i];
        put(aim, "circle", {cx: px, cy: py, r: 4, class: series.kind, style: "stroke: var(--c)"});
        says.push((told.length > 1 ? series.name + ", " : "") + series.tips[i]);
      });
      return says.join("\n");
    },
    bars: (svg, told, x) => told.tips[Math.floor(x / told.step)] || "",
    heat(svg, told, x, y) {
      const [left, top, width, height] = told.box, n = told.columns.length, m = told.rows.length;
      const i = Math.floor((y - top) / height * m), j = Math.floor((x - left) / width * n);
      const aim = svg.querySelector("rect.aim");
      const inside = i >= 0 && i < m && j >= 0 && j < n;
      aim.setAttribute("width", inside ? width / n : 0);
      if (!inside) return "";
      aim.setAttribute("height", height / m);
      aim.setAttribute("x", left + j * width / n); aim.setAttribute("y", top + i * height / m);
      const share = parseInt(told.cells.substr(2 * (i * n + j), 2), 16);
      return "token " + told.columns[j] + ", " + told.shares[j] + " % of frames\n" + share + " % of them are " + told.rows[i];
    },
    clip(svg, told, x, y) {
      const t = (x - told.from) / (told.to - told.from) * told.seconds;
      if (t < 0 || t > told.seconds) return "";
      const lane = told.lanes.find(l => y >= l.top && y < l.end), time = t.toFixed(2) + " s";
      if (!lane) return time;
      if (lane.segments) {
        const s = lane.segments.find(s => s[0] <= t && t < s[1]);
        return s ? s[2] + "\n" + s[0].toFixed(2) + " to " + s[1].toFixed(2) + " s" : time;
      }
      lane.list = lane.list || lane.tokens.split(" ");
      const token = lane.list[Math.floor((t - lane.first) / lane.step)];
      return token ? lane.name + ": token " + token + "\n" + time : time;
    },
  };
  document.querySelectorAll("svg[data-figure]").forEach(svg => {
    const told = JSON.parse(svg.dataset.told), answer = figures[svg.dataset.figure];
    svg.addEventListener("pointermove", event => show(event, answer(svg, told, ...place(svg, event))));
    svg.addEventListener("pointerleave", () => {
      tip.hidden = true;
      const group = svg.querySelector("g.aim"), box = svg.querySelector("rect.aim");
      if (group) group.replaceChildren();
      if (box) box.setAttribute("width", 0);
    });
  });
  document.querySelectorAll(".clip").forEach(clip => {
    const sound = clip.querySelector("audio"), svg = clip.querySelector("svg"), head = clip.querySelector(".playhead");
    if (!sound || !svg || !head) return;
    const told = JSON.parse(svg.dataset.told);
    const move = () => {
      const x = told.from + (told.to - told.from) * Math.min(1, sound.currentTime / told.seconds);
      head.setAttribute("x1", x); head.setAttribute("x2", x);
      if (!sound.paused && !sound.ended) requestAnimationFrame(move);
    };
    sound.addEventListener("play", () => { clip.classList.add("playing"); move(); });
    sound.addEventListener("seeked", () => { clip.classList.add("playing"); move(); });
    sound.addEventListener("ended", () => clip.classList.remove("playing"));
    svg.addEventListener("click", event => {
      const t = (place(svg, event)[0] - told.from) / (told.to - told.from) * told.seconds;
      if (t < 0 || t > told.seconds) return;
      sound.currentTime = t; sound.play();
    });
  });
  const links = new Map([...document.querySelectorAll("nav a")].map(a => [a.getAttribute("href").slice(1), a]));
  const heads = [...document.querySelectorAll("main [id]")].filter(head => links.has(head.id));
  const mark = () => {
    let here = heads[0];
    heads.forEach(head => { if (head.getBoundingClientRect().top < 120) here = head; });
    links.forEach(a => a.classList.remove("here"));
    if (here) links.get(here.id).classList.add("here");
  };
  addEventListener("scroll", mark, {passive: true}); mark();
  document.documentElement.dataset.ready = "yes";
})();
