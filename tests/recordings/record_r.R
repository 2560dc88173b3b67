# Records what base R says of one small data set; run in this folder: Rscript record_r.R
# Writes r_values.csv (the data: 12 units, factors A, B, C of two levels, rounded) and r_results.csv (name, value).
set.seed(20)
cells <- expand.grid(C = c("low", "high"), B = c("low", "high"), A = c("low", "high"), unit = 1:12)
cells$y <- round(rnorm(12)[cells$unit] + 0.8 * (cells$A == "high") * (cells$B == "high") + rnorm(96), 3)
cells[c("A", "B", "C")] <- lapply(cells[c("A", "B", "C")], factor, levels = c("low", "high"))
cells$unit <- factor(cells$unit)
write.csv(matrix(cells$y, ncol = 8, byrow = TRUE), "r_values.csv", row.names = FALSE)

results <- list()
fit <- summary(aov(y ~ A * B * C + Error(unit / (A * B * C)), cells))
for (stratum in fit) {
  table <- stratum[[1]]
  effect <- trimws(rownames(table)[1])
  if (effect == "Residuals") next
  results[[paste("aov", effect, "F")]] <- table[1, "F value"]
  results[[paste("aov", effect, "p")]] <- table[1, "Pr(>F)"]
  results[[paste("aov", effect, "eta")]] <- table[1, "Sum Sq"] / sum(table[, "Sum Sq"])
}
of <- function(level) tapply(cells$y[cells$A == level], cells$unit[cells$A == level], mean)
difference <- of("high") - of("low")
one <- t.test(difference)
results[["t p"]] <- one$p.value
results[["wilcoxon p"]] <- wilcox.test(difference, exact = TRUE)$p.value
p <- c(0.001, 0.02, 0.03, 0.04, 0.6)
for (method in c("holm", "BH"))
  for (i in seq_along(p)) results[[paste("adjust", method, i)]] <- p.adjust(p, method)[i]
lower <- t.test(difference, mu = -0.5, alternative = "greater")$p.value
upper <- t.test(difference, mu = 0.9, alternative = "less")$p.value
results[["tost p"]] <- max(lower, upper)
write.csv(data.frame(name = names(results), value = sprintf("%.15g", unlist(results))), "r_results.csv", row.names = FALSE)
cat(R.version.string, "\n")
